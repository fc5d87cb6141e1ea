"""Runs the migrations of the ledger's tables. Importing this module imports Alembic."""

import logging

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from tidegate.core.domain.errors import LedgerUnavailable

__all__ = ["migrate"]


def migrate(connection: Connection) -> None:
    """Brings the tables to the state of this version, in the transaction of the connection.

    Raises:
        LedgerUnavailable: a newer version has written the database.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", "tidegate.ledger:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerUnavailable(str(error)) from None
