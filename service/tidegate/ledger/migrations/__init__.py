"""Migrations of the ledger's tables, which Alembic runs at every start."""
