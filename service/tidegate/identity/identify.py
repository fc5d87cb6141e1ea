"""Identifies the caller of a request by its key."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from tidegate.core.claude.header_names import API_KEY, AUTHORIZATION
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.transport import Fields
from tidegate.settings import CallerSettings

__all__ = ["Identifier", "key_hash", "presented_key"]

_MAX_ANONYMOUS_CALLERS: Final = 1_000
"""Size of the LRU cache of keys. A name depends only on the key, so an evicted caller gets the same name again."""

_API_KEY, _AUTHORIZATION = API_KEY.encode(), AUTHORIZATION.encode()


def key_hash(key: str) -> str:
    """SHA-256 of a key as 64 hex digits. The configuration holds it instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


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

    With configured callers, the key must belong to one of them. Without, every key is a separate caller with weight 1,
    and a request without a key belongs to the default caller.
    """

    def __init__(self, callers: Sequence[CallerSettings] = ()) -> None:
        self.configure(callers)
        self._anonymous: OrderedDict[str, Caller] = OrderedDict()

    def configure(self, callers: Sequence[CallerSettings]) -> None:
        """Replaces the configured callers and their keys. Calls under way keep their callers."""
        self._configured = {settings.key_sha256: settings.caller() for settings in callers}

    def identify(self, fields: Fields) -> Caller:
        """The caller of a request with these header fields.

        Raises:
            Refusal: UNAUTHENTICATED when callers are configured and the key is missing or not one of theirs.
        """
        key = presented_key(fields)
        if self._configured:
            caller = self._configured.get(key_hash(key)) if key else None
            if caller is None:
                what = "is not a caller's" if key else "is missing"
                raise Refusal(
                    Cause.UNAUTHENTICATED,
                    f"the key {what}: send the key of a configured caller as x-api-key or Authorization: Bearer",
                )
            return caller
        return DEFAULT_CALLER if key is None else self._anonymous_caller(key)

    def _anonymous_caller(self, key: str) -> Caller:
        caller = self._anonymous.get(key)
        if caller is None:
            if len(self._anonymous) >= _MAX_ANONYMOUS_CALLERS:
                self._anonymous.popitem(last=False)
            caller = self._anonymous[key] = Caller(f"key-{key_hash(key)[:12]}")
        self._anonymous.move_to_end(key)
        return caller
