"""The C-STORE and C-ECHO provider: from a socket to a durable file and row."""
