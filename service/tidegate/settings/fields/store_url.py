"""The URL of the store, which may contain a password."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, SecretStr

from tidegate.core.ports.store_address import StoreAddress, parse_store_url, without_credentials

__all__ = ["MEMORY", "StoreStart", "StoreUrl", "StoreUrlField"]

MEMORY: Final = "memory://"
"""The store in the memory of this process."""

StoreStart = Literal["fail", "degraded"]
"""The behaviour of the service if it cannot reach the shared store when it starts."""


class StoreUrl(SecretStr):
    """A secret that shows itself without user and password."""

    @property
    def address(self) -> StoreAddress | None:
        """The address of a shared store; None: the store is in memory.

        Raises:
            ConfigurationError: the URL has no known form.
        """
        url = self.get_secret_value()
        return None if url == MEMORY else parse_store_url(url)

    def _display(self) -> str:
        return without_credentials(self.get_secret_value())


def _checked(url: StoreUrl) -> StoreUrl:
    _ = url.address  # raises
    return url


StoreUrlField = Annotated[StoreUrl, AfterValidator(_checked)]
"""`memory://`, or the URL of a shared store."""
