"""Results to a PACS over HTTP: STOW-RS (PS3.18 10.5)."""
