"""The URL of the ledger's database, which may contain a password."""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.store_address import without_credentials

__all__ = ["DATABASE_URL_TEXT", "DatabaseUrl", "DatabaseUrlField", "LedgerUse", "Tenant", "Unowned"]

DATABASE_URL_TEXT: Final = "postgresql://user:password@host:5432/database, with libpq's options as a query"

LedgerUse = Literal["auto", "required", "off"]
"""Whether there is a ledger, and whether calls are refused while it cannot be written."""

Tenant = Literal["caller", "team"]
"""To whom an object belongs: to the caller that created it, or to its team."""

Unowned = Literal["admin", "everyone"]
"""The callers that may use objects whose creator the ledger does not know."""


class DatabaseUrl(SecretStr):
    """A secret that shows itself without user and password."""

    def _display(self) -> str:
        return without_credentials(self.get_secret_value()).partition("?")[0]


def _checked(url: DatabaseUrl) -> DatabaseUrl:
    try:
        parts = urlsplit(url.get_secret_value())
        is_valid = parts.scheme in {"postgresql", "postgres"} and bool(parts.hostname) and parts.path.strip("/") != ""
        _ = parts.port  # raises ValueError outside 0 to 65535
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError("database_url", str(url), DATABASE_URL_TEXT)
    return url


DatabaseUrlField = Annotated[DatabaseUrl, AfterValidator(_checked)]
"""The URL of a database in PostgreSQL."""
