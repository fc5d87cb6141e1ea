"""Access rules of the service and of its administration.

Without configured callers, anyone who can reach the service spends the team's money, and any web page in a browser can
reach a service on loopback. An open service therefore listens on loopback only, and refuses all requests that a foreign
web page can cause.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tidegate.core.claude.header_names import API_VERSION
from tidegate.core.domain.caller import Role
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.errors import ConfigurationError, Refusal
from tidegate.core.ports.key_store import KeyStore, StoredKey
from tidegate.core.ports.transport import Fields
from tidegate.identity.identify import key_hash, presented_key
from tidegate.identity.proxies import TrustedProxies
from tidegate.settings import Settings

__all__ = ["AccessRequest", "AccessRules", "Denial", "is_loopback"]

_UNSUPPORTED_MEDIA_TYPE: Final = 415
_FETCH_SITE: Final = b"sec-fetch-site"
_OTHER_SITES: Final = (b"cross-site", b"same-site")
"""Values that browsers send for requests caused by other sites, even without an `Origin` (W3C Fetch Metadata)."""
_ADMIN_KEY: Final = "the admin key"
_LOCAL_CLIENT: Final = "a local client"
_JSON_ONLY: Final = "/v1/messages"
_API_VERSION: Final = API_VERSION.encode()


class AccessRequest(NamedTuple):
    """The parts of a request that the rules for administration read.

    Attributes:
        path: the path.
        fields: the header fields.
        peer: the client's address, as found by `TrustedProxies`; None if it is unknown.
    """

    path: str
    fields: Fields
    peer: str | None


class Denial(NamedTuple):
    """The denial of a request: an HTTP status, a sentence, and a cause if one applies."""

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
    """Decides which requests are allowed.

    Args:
        open_service: whether no callers are configured.
        admin_key: a key for admin calls.
        admins: names of the admin callers, by the hashes of their keys. An open service without any admin key accepts
            admin calls from local clients only.
        caller_hashes: hashes of the keys of all callers.
        on_loopback: whether the service listens on loopback only.
        open_pages: whether metrics and documentation never need a key.
        proxies: the proxies whose forwarded headers are trusted.
        key_store: the keys of the ledger; None: there is no ledger. Once there was a key, the service is not open.
    """

    def __init__(
        self,
        *,
        open_service: bool,
        admin_key: str | None = None,
        admins: Mapping[str, str] = MappingProxyType({}),
        caller_hashes: Iterable[str] = (),
        on_loopback: bool = True,
        open_pages: bool = False,
        proxies: TrustedProxies | None = None,
        key_store: KeyStore | None = None,
    ) -> None:
        self.proxies = proxies or TrustedProxies()
        self._has_no_callers = open_service
        self._key_store = key_store
        self._admins = {**({key_hash(admin_key): _ADMIN_KEY} if admin_key else {}), **admins}
        self._known_hashes = frozenset(self._admins).union(caller_hashes)
        self._on_loopback = on_loopback
        self._open_pages = open_pages

    @classmethod
    def of(cls, settings: Settings, host: str | None = None, *, key_store: KeyStore | None = None) -> "AccessRules":
        """The rules for the settings. `host` overrides the address that the service listens on."""
        key = settings.admin_key
        return cls(
            open_service=not settings.callers,
            admin_key=key.get_secret_value() if key else None,
            admins={caller.key_sha256: caller.name for caller in settings.callers if caller.admin},
            caller_hashes=[caller.key_sha256 for caller in settings.callers],
            on_loopback=is_loopback(host or settings.host),
            open_pages=settings.open_metrics_and_docs,
            proxies=TrustedProxies(settings.trusted_proxies),
            key_store=key_store,
        )

    @classmethod
    def for_metrics(cls, settings: Settings, *, key_store: KeyStore | None = None) -> "AccessRules":
        """The rules for the separate address of metrics.

        Raises:
            ConfigurationError: the address is not loopback, no keys are configured, and metrics are not opened.
        """
        host = settings.metrics_host or settings.host
        rules = cls.of(settings, host, key_store=key_store)
        has_keys = settings.callers or settings.admin_key or rules.has_stored_keys
        if not (is_loopback(host) or settings.open_metrics_and_docs or has_keys):
            allowed = "127.0.0.1, ::1 or localhost, unless TIDEGATE_OPEN_METRICS_AND_DOCS is true or there are keys"
            raise ConfigurationError("TIDEGATE_METRICS_HOST", host, allowed)
        return rules

    def check_bind(self, host: str) -> None:
        """Checks the address that the service will listen on.

        Raises:
            ConfigurationError: the service is open and `host` is not loopback.
        """
        if self._has_no_callers and not self.has_stored_keys and not is_loopback(host):
            allowed = "127.0.0.1, ::1 or localhost, unless [[callers]] with keys are configured, or the ledger has keys"
            raise ConfigurationError("TIDEGATE_HOST", host, allowed)

    def check(self, path: str, fields: Fields) -> Denial | None:
        """Denies a request that a foreign web page could have caused. None allows it."""
        return _denied_on_loopback(path, fields) if self._open_service else None

    def check_admin(self, request: AccessRequest) -> Denial | None:
        """Denies a request that may not change settings. The key is in `x-api-key` or `Authorization: Bearer`."""
        if not self._admins and (self._key_store is None or self._key_store.is_used is False):
            if not self._open_service:
                return _forbidden("admin calls need TIDEGATE_ADMIN_KEY or a caller with `admin = true`: none is set")
            if request.peer is None or not is_loopback(request.peer):
                return _forbidden("admin calls need a local client, or TIDEGATE_ADMIN_KEY to be set and its key")
            return _denied_on_loopback(request.path, request.fields)
        key = presented_key(request.fields)
        if key is None:
            message = "the admin key is missing: send it as x-api-key or Authorization: Bearer"
            return Denial(CAUSES[Cause.UNAUTHENTICATED].status, message, Cause.UNAUTHENTICATED)
        hashed = key_hash(key)  # comparing hashes avoids timing attacks on the key
        if hashed not in self._admins and self._role(hashed) is not Role.ADMIN:
            return _forbidden("the key is not an admin key")
        return None

    def is_viewer(self, fields: Fields) -> bool:
        """Whether the key of a request is one of the ledger's that may read everything, but not make calls."""
        key = presented_key(fields)
        return key is not None and self._role(key_hash(key)) is Role.VIEWER

    def admin_name(self, fields: Fields) -> str:
        """The author of an admin call that `check_admin` allows: the caller, the admin key, or a local client."""
        key = presented_key(fields)
        if key is None:
            return _LOCAL_CLIENT
        hashed = key_hash(key)
        stored = None if hashed in self._admins else self._stored(hashed)
        return self._admins.get(hashed, _LOCAL_CLIENT) if stored is None else stored.caller.name

    def check_page(self, request: AccessRequest) -> Denial | None:
        """Denies a request that may not read metrics or documentation."""
        is_local = self._on_loopback and request.peer is not None and is_loopback(request.peer)
        if self._open_pages or is_local:
            return None
        key = presented_key(request.fields)
        if key is None:
            message = (
                f"from other machines, {request.path} needs the key of a caller or an admin, as x-api-key or "
                "Authorization: Bearer; TIDEGATE_OPEN_METRICS_AND_DOCS=true opens it"
            )
            return Denial(CAUSES[Cause.UNAUTHENTICATED].status, message, Cause.UNAUTHENTICATED)
        hashed = key_hash(key)
        is_known = hashed in self._known_hashes or self._stored(hashed) is not None
        return None if is_known else _forbidden("the key is not a caller's or an admin's")

    @property
    def _open_service(self) -> bool:
        """Whether calls need no key."""
        return self._has_no_callers and (self._key_store is None or self._key_store.is_used is False)

    @property
    def has_stored_keys(self) -> bool:
        """Whether the ledger is known to have, or to have had, keys."""
        return self._key_store is not None and self._key_store.is_used is True

    def _role(self, hashed: str) -> Role | None:
        stored = self._stored(hashed)
        return None if stored is None else stored.role

    def _stored(self, hashed: str) -> StoredKey | None:
        """A key of the ledger; None also while the keys cannot be read."""
        if self._key_store is None:
            return None
        try:
            return self._key_store.find(hashed)
        except Refusal:
            return None


def _denied_on_loopback(path: str, fields: Fields) -> Denial | None:
    host = fields.get(b"host", b"")
    if not _names_loopback(host):
        # A foreign name that resolves to loopback is a DNS rebinding attack by a web page.
        return _forbidden(f"Host: got {_shown(host)}, allowed is 127.0.0.1, localhost or [::1], with any port")
    origin = fields.get(b"origin")
    if origin is not None and _authority(origin) != host.lower():
        return _forbidden(f"Origin: got {_shown(origin)}, allowed is none, or this service's own")
    site = fields.get(_FETCH_SITE)
    if site in _OTHER_SITES and path.startswith("/v1/"):
        return _forbidden(f"Sec-Fetch-Site: got {_shown(site)}, allowed is none, or same-origin")
    media_type = fields.get(b"content-type", b"")
    if media_type != b"application/json" and _has_body(fields) and not _is_safe_body(path, media_type, fields):
        return Denial(_UNSUPPORTED_MEDIA_TYPE, f"content-type: got {_shown(media_type)}, allowed is application/json")
    return None


@lru_cache(maxsize=256)  # checked for every call, mostly with the same value
def _names_loopback(host: bytes) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host.decode('latin-1')}").hostname or "")
    except ValueError:
        return False


def _authority(origin: bytes) -> bytes:
    """Host and port of an origin; empty if it is invalid."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower().encode("latin-1")
    except ValueError:
        return b""


def _has_body(fields: Fields) -> bool:
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"


def _is_safe_body(path: str, media_type: bytes, fields: Fields) -> bool:
    """Whether a browser would send a CORS preflight, which fails, before it sends such a body to another site."""
    if media_type.partition(b";")[0].strip().lower() == b"application/json":
        return True
    # Uploads are multipart, which needs no preflight. The version header, which every SDK sends, does.
    return path.startswith("/v1/") and not path.startswith(_JSON_ONLY) and _API_VERSION in fields


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))


def _forbidden(message: str) -> Denial:
    return Denial(CAUSES[Cause.FORBIDDEN].status, message, Cause.FORBIDDEN)
