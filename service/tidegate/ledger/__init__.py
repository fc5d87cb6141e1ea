"""The ledger: a database of usage and keys, in SQLite or PostgreSQL.

Other packages reach it through the protocols in `core/ports`. Only the composition root imports it, because SQLAlchemy
is an extra. This module does without.
"""

from typing import Final

__all__ = ["FILE"]

FILE: Final = "ledger.sqlite"
"""The name of the database in the state folder."""
