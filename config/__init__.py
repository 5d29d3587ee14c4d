"""What may be set: typed settings, their loader, and the commented example files."""
