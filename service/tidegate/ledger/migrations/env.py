"""Alembic's environment: runs the migrations on the connection that `Database.migrate` passes."""

from alembic import context

# Alembic would run the migrations of SQLite outside of a transaction, although SQLite can undo them.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
