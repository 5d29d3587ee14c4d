"""Migration environment, run by alembic only."""
