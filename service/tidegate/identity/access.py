"""Who may call at all, and who may administer. Pure: a request is its method, path, headers and peer.

Without configured callers anybody who reaches the service spends the team's money, and a web page in a browser reaches
whatever listens on loopback. So an open service is for loopback only, and takes no call that a foreign page can cause.
"""

import hmac
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tidegate.core.cause import CAUSES, Cause
from tidegate.core.errors import ConfigurationError
from tidegate.core.header_names import API_VERSION
from tidegate.identity.identify import presented_key
from tidegate.settings import Settings

__all__ = ["AccessRequest", "AccessRules", "Denial", "is_loopback"]

_UNSUPPORTED_MEDIA_TYPE: Final = 415


class AccessRequest(NamedTuple):
    """What the rules for administration look at.

    Header names are in lower case; `peer` is the client's address, None if unknown.
    """

    path: str
    headers: Mapping[str, str]
    peer: str | None


class Denial(NamedTuple):
    """Why a request is not let in: an HTTP status, a sentence, and the row of the cause table where one applies."""

    status: int
    message: str
    cause: Cause | None = None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class AccessRules:
    """The access rules of design section 4.

    `open_service`: no callers are configured. `admin_key`: None lets loopback peers, and only them, administer.
    """

    def __init__(self, *, open_service: bool, admin_key: str | None = None) -> None:
        self._open_service = open_service
        self._admin_key = admin_key

    @classmethod
    def of(cls, settings: Settings) -> "AccessRules":
        """The rules that the settings imply."""
        key = settings.admin_key
        return cls(open_service=not settings.callers, admin_key=key.get_secret_value() if key else None)

    def check_bind(self, host: str, variable: str = "TIDEGATE_HOST") -> None:
        """Checks where the service is about to listen.

        Raises:
            ConfigurationError: the service is open and `host` is not loopback.
        """
        if self._open_service and not is_loopback(host):
            raise ConfigurationError(
                variable, host, "127.0.0.1, ::1 or localhost while no [[callers]] are configured, who have keys"
            )

    def check(self, path: str, headers: Mapping[str, str]) -> Denial | None:
        """Whether a request may come in at all; identifying its caller is another matter. None lets it in."""
        return _denied_on_loopback(path, headers) if self._open_service else None

    def check_admin(self, request: AccessRequest) -> Denial | None:
        """Whether a request may change settings. The admin key counts as `x-api-key` or `Authorization: Bearer`."""
        if self._admin_key is None:
            if request.peer is None or not is_loopback(request.peer):
                return _forbidden("admin calls come from this machine, or with the key of TIDEGATE_ADMIN_KEY once set")
            return _denied_on_loopback(request.path, request.headers)
        key = presented_key(request.headers)
        if key is None:
            message = "the admin key is missing: send it as x-api-key or Authorization: Bearer"
            return Denial(CAUSES[Cause.UNAUTHENTICATED].status, message, Cause.UNAUTHENTICATED)
        if not hmac.compare_digest(key.encode(), self._admin_key.encode()):
            return _forbidden("the key is not the admin key")
        return None


def _denied_on_loopback(path: str, headers: Mapping[str, str]) -> Denial | None:
    host = headers.get("host", "")
    if not _names_loopback(host):
        # A name that resolves to loopback is how DNS rebinding lets a web page in.
        return _forbidden(f"Host: got {host[:80]!r}, allowed is 127.0.0.1, localhost or [::1], with any port")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return _forbidden(f"Origin: got {origin[:80]!r}, allowed is none, or this service's own")
    if headers.get("content-type") != "application/json" and _has_body(headers) and not _is_safe_body(path, headers):
        given = headers.get("content-type", "")
        return Denial(_UNSUPPORTED_MEDIA_TYPE, f"content-type: got {given[:80]!r}, allowed is application/json")
    return None


@lru_cache(maxsize=256)  # every call comes by here, most with the same value
def _names_loopback(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_safe_body(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser would ask first (preflight, which nobody answers) before it sends such a body elsewhere."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return True
    # File uploads are multipart; the version header, which every SDK sends, causes the preflight instead.
    return path.startswith("/v1/files") and API_VERSION in headers


def _forbidden(message: str) -> Denial:
    return Denial(CAUSES[Cause.FORBIDDEN].status, message, Cause.FORBIDDEN)
