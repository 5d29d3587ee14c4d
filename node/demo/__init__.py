"""The demo: a PACS stand-in, real studies over the wire, and a table of what came back."""
