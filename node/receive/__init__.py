"""The C-STORE and C-ECHO provider: from a socket to a durable file and its row or receipt."""
