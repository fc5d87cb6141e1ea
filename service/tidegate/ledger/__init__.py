"""The ledger: a database with the usage of every hour, in SQLite or PostgreSQL.

Other packages reach it through the protocols in `core/ports`. Only the composition root imports it, because SQLAlchemy
is an extra.
"""
