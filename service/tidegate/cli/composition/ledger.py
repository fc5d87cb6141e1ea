"""The ledger of the service and of the command line, as the settings describe it."""

import asyncio
import getpass
import importlib.util
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable, MissingExtra
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.key_store import KeyStore
from tidegate.core.pricing.price_list import PriceList
from tidegate.identity.identify import new_key
from tidegate.ledger import FILE
from tidegate.settings import Settings

if TYPE_CHECKING:
    from tidegate.ledger.database import Database
    from tidegate.ledger.ledger import Ledger

__all__ = [
    "check_budgets",
    "check_ledger",
    "command_line_user",
    "has_ledger",
    "ledger_database",
    "missing_tenants",
    "open_ledger",
    "running",
    "state_dir_of",
    "stored_keys",
    "warn_without_tenants",
]

logger = logging.getLogger("tidegate.ledger")

_SYSTEMD_STATE: Final = "STATE_DIRECTORY"
"""The variable in which systemd passes the folder of `StateDirectory=`."""
_DATABASE: Final = "TIDEGATE_DATABASE_URL"
_LEDGER: Final = "TIDEGATE_LEDGER"
_PLACES: Final = "a database, as the place of the ledger; or set TIDEGATE_STATE_DIR to a folder"


def state_dir_of(settings: Settings) -> str | None:
    """The state folder; None if none is configured."""
    return settings.state_dir or os.environ.get(_SYSTEMD_STATE)


def check_budgets(settings: Settings) -> None:
    """Checks that there is a ledger if there are budgets: without one, a restart would forget what was spent.

    Raises:
        ConfigurationError: there are budgets without a ledger.
        MissingExtra: its packages are not installed.
    """
    rules = settings.budget_rules()
    if not rules or has_ledger(settings):
        return
    if settings.ledger != "off" and not _is_installed("alembic"):
        raise MissingExtra("budgets", rules[0].name, "none", extra="ledger")
    allowed = "only with a ledger, which knows what was spent: set TIDEGATE_STATE_DIR or TIDEGATE_DATABASE_URL"
    raise ConfigurationError("budgets", rules[0].name, allowed)


def check_ledger(settings: Settings) -> None:
    """Checks whether there can be a ledger, if the settings ask for one.

    Raises:
        ConfigurationError: there is no place for it, or replicas would have one each, or there are budgets without it.
        MissingExtra: its packages are not installed.
    """
    check_budgets(settings)
    if settings.ledger == "off":
        return
    has_folder = state_dir_of(settings) is not None
    if settings.database_url is None:
        if settings.ledger == "required" and not has_folder:
            raise ConfigurationError(_DATABASE, None, _PLACES)
        if settings.store_url.address is not None and (has_folder or settings.ledger == "required"):
            allowed = "a database that all replicas share, because TIDEGATE_STORE_URL is shared; or TIDEGATE_LEDGER=off"
            raise ConfigurationError(_DATABASE, None, allowed)
    elif not _is_installed("psycopg"):
        raise MissingExtra(_DATABASE, str(settings.database_url), "unset", extra="postgresql")
    # A ledger that exists may have keys. Without it the service would be open to everyone on this machine.
    if (settings.ledger == "required" or (has_folder and _exists(settings))) and not _is_installed("alembic"):
        raise MissingExtra(_LEDGER, settings.ledger, "off", extra="ledger")


def command_line_user() -> str:
    """The author of a change by a command, for the ledger."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "command line"
    return f"{user} (command line)" if user.isprintable() else "command line"


def has_ledger(settings: Settings) -> bool:
    """Whether the settings name a place for a ledger, and its packages are installed."""
    has_place = settings.database_url is not None or state_dir_of(settings) is not None
    return settings.ledger != "off" and has_place and _is_installed("alembic")


def missing_tenants(settings: Settings) -> str | None:
    """A warning for a service without a ledger that has several callers; None if it needs none."""
    if len(settings.callers) < 2:
        return None
    return (
        "there is no ledger, so that each of the "
        f"{len(settings.callers)} callers can list, read and delete the batches, files and other objects of all; "
        "set TIDEGATE_STATE_DIR or TIDEGATE_DATABASE_URL, with tidegate[ledger] installed, to keep them apart"
    )


def warn_without_tenants(settings: Settings) -> None:
    """Logs the warning of `missing_tenants`, if there is one."""
    warning = missing_tenants(settings)
    if warning is not None:
        logger.warning(warning)


def ledger_database(settings: Settings) -> "Database":
    """The database of the ledger, for commands.

    Raises:
        ConfigurationError: none is configured, or the configuration is faulty.
    """
    check_ledger(settings)
    if settings.ledger == "off":
        raise ConfigurationError(_LEDGER, settings.ledger, "auto or required")
    database = _database(settings)
    if database is None:
        raise ConfigurationError(_DATABASE, None, _PLACES)
    return database


def open_ledger(settings: Settings, clock: Clock, prices: PriceList) -> "Ledger | None":
    """The ledger of the service; None if the settings ask for none, or its packages are not installed.

    Raises:
        ConfigurationError: as `check_ledger`.
    """
    check_ledger(settings)
    if settings.ledger == "off":
        return None
    try:
        database = _database(settings)
    except MissingExtra as error:
        logger.warning("there is no ledger of usage: %s", error)
        return None
    if database is None:
        return None
    from tidegate.ledger.ledger import Ledger  # noqa: PLC0415 - SQLAlchemy is an extra

    return Ledger(database, clock, prices, required=settings.ledger == "required", new_key=new_key)


def stored_keys(settings: Settings) -> KeyStore | None:
    """The keys as they are now. None: there is no ledger yet, or it cannot be read.

    Raises:
        ConfigurationError: as `check_ledger`.
    """
    check_ledger(settings)
    if settings.ledger == "off" or not _is_installed("alembic") or not _exists(settings):
        return None
    database = _database(settings)
    if database is None:
        return None
    from tidegate.ledger.access.key_cache import KeyCache  # noqa: PLC0415 - SQLAlchemy is an extra

    found = KeyCache(database)
    try:
        found.refresh()
    except LedgerUnavailable as error:
        logger.warning("the keys of the ledger cannot be read: %s", error)
        return None
    finally:
        database.close()
    return found


@asynccontextmanager
async def running(ledger: "Ledger | None") -> AsyncIterator[None]:
    """Writes usage while the block runs, and what is left at its end."""
    if ledger is None:
        yield
        return
    await asyncio.to_thread(ledger.prepare)
    ledger.start()
    try:
        yield
    finally:
        await asyncio.to_thread(ledger.stop)


def _database(settings: Settings) -> "Database | None":
    folder = state_dir_of(settings)
    if settings.database_url is None and folder is None:
        return None
    if not _is_installed("alembic"):
        raise MissingExtra(_LEDGER, settings.ledger, "off", extra="ledger")
    from tidegate.ledger.database import Database  # noqa: PLC0415 - SQLAlchemy is an extra

    if settings.database_url is not None:
        return Database(settings.database_url.get_secret_value())
    return Database.in_folder(Path(folder or ""))


def _exists(settings: Settings) -> bool:
    """Whether there is a database, or may be: that of a state folder is created by the service or a command."""
    folder = state_dir_of(settings)
    if settings.database_url is not None or folder is None:
        return True
    return (Path(folder) / FILE).exists()


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
