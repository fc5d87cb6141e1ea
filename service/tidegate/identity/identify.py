"""Identifies the caller of a request by its key."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from tidegate.core.claude.header_names import API_KEY, AUTHORIZATION
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Role
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.key_store import KeyStore
from tidegate.core.ports.transport import Fields
from tidegate.settings import CallerSettings

__all__ = ["Identifier", "key_hash", "new_key", "presented_key"]

_KEY_BYTES: Final = 32
_PREFIX: Final = "tg_"
"""Makes keys recognizable to people and secret scanners."""

_MAX_ANONYMOUS_CALLERS: Final = 1_000
"""Size of the LRU cache of keys. A name depends only on the key, so an evicted caller gets the same name again."""

_API_KEY, _AUTHORIZATION = API_KEY.encode(), AUTHORIZATION.encode()


def key_hash(key: str) -> str:
    """SHA-256 of a key as 64 hex digits. The configuration holds it instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> tuple[str, str]:
    """A random key of 256 bits, and its hash."""
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, key_hash(key)


def presented_key(fields: Fields) -> str | None:
    """The key in `x-api-key` or `Authorization: Bearer`; None if both are missing.

    HTTP does not define the encoding of non-ASCII characters. Bytes that are not valid UTF-8 are read as Latin-1.
    """
    key = fields.get(_API_KEY, b"").strip()
    if not key and _AUTHORIZATION in fields:
        scheme, _, token = fields[_AUTHORIZATION].partition(b" ")
        key = token.strip() if scheme.lower() == b"bearer" else b""
    try:
        return key.decode() or None
    except UnicodeDecodeError:
        return key.decode("latin-1")


class Identifier:
    """Identifies the caller of a request.

    With configured callers, or keys in the ledger, the key must be one of theirs. Without, every key is a separate
    caller with weight 1, and a request without a key belongs to the default caller.

    Args:
        callers: the configured callers.
        key_store: the keys of the ledger; None: there is no ledger.
    """

    def __init__(self, callers: Sequence[CallerSettings] = (), key_store: KeyStore | None = None) -> None:
        self.configure(callers)
        self._key_store = key_store
        self._anonymous: OrderedDict[str, Caller] = OrderedDict()

    def configure(self, callers: Sequence[CallerSettings]) -> None:
        """Replaces the configured callers and their keys. Calls under way keep their callers."""
        self._configured = {settings.key_sha256: settings.caller() for settings in callers}

    @property
    def has_callers(self) -> bool:
        """Whether calls need the key of a caller; also while it is not known whether the ledger has keys."""
        return bool(self._configured) or (self._key_store is not None and self._key_store.is_used is not False)

    def identify(self, fields: Fields) -> Caller:
        """The caller of a request with these header fields.

        Raises:
            Refusal: UNAUTHENTICATED when there are callers and the key is missing or not one of theirs; FORBIDDEN if
                it may only read; LEDGER_UNAVAILABLE while the keys of the ledger are not known.
        """
        key = presented_key(fields)
        if self.has_callers:
            caller = self._caller(key_hash(key)) if key else None
            if caller is None:
                what = "is not a caller's" if key else "is missing"
                raise Refusal(
                    Cause.UNAUTHENTICATED,
                    f"the key {what}: send the key of a configured caller as x-api-key or Authorization: Bearer",
                )
            return caller
        return DEFAULT_CALLER if key is None else self._anonymous_caller(key)

    def _caller(self, hashed: str) -> Caller | None:
        caller = self._configured.get(hashed)
        if caller is not None or self._key_store is None:
            return caller
        stored = self._key_store.find(hashed)
        if stored is None:
            return None
        if stored.role is Role.VIEWER:
            raise Refusal(Cause.FORBIDDEN, "the key may only read usage and state: its role is viewer")
        return stored.caller

    def _anonymous_caller(self, key: str) -> Caller:
        caller = self._anonymous.get(key)
        if caller is None:
            if len(self._anonymous) >= _MAX_ANONYMOUS_CALLERS:
                self._anonymous.popitem(last=False)
            caller = self._anonymous[key] = Caller(f"key-{key_hash(key)[:12]}")
        self._anonymous.move_to_end(key)
        return caller
