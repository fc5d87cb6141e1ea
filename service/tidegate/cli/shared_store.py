"""The shared store of the configuration: whether its client is installed, and whether the server can hold it."""

import asyncio
import importlib.util

from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors, MissingExtra
from tidegate.core.ports.store_address import StoreAddress
from tidegate.settings import Settings

__all__ = ["VARIABLE", "check_store", "require_client", "store_errors"]

VARIABLE = "TIDEGATE_STORE_URL"


def require_client(settings: Settings) -> None:
    """Checks that the client of the configured store is installed.

    Raises:
        MissingExtra: the store is shared, and the client is an extra that is not installed.
    """
    if settings.store_url.address is not None and importlib.util.find_spec("valkey") is None:
        raise MissingExtra(VARIABLE, str(settings.store_url), "memory://", extra="valkey")


def check_store(settings: Settings) -> None:
    """Connects to the shared store, if there is one, and checks version, memory policy and permissions.

    Raises:
        MissingExtra: as `require_client`.
        ConfigurationErrors: the server has faults, one error for each.
    """
    require_client(settings)
    address = settings.store_url.address
    if address is not None and (errors := asyncio.run(store_errors(address, str(settings.store_url)))):
        raise ConfigurationErrors(errors)


async def store_errors(address: StoreAddress, shown: str) -> list[ConfigurationError]:
    """The faults of the server, as errors of the setting."""
    from tidegate.stores.valkey.server_check import server_faults  # noqa: PLC0415 - its client is an extra

    faults = await server_faults(address)
    return [ConfigurationError(VARIABLE, shown, f"a server that can hold the store ({fault})") for fault in faults]
