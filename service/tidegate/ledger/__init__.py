"""The ledger: a database of usage and keys, in SQLite or PostgreSQL.

Other packages reach it through the protocols in `core/ports`. Only the composition root imports it, because SQLAlchemy
is an extra.
"""
