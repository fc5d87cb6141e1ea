"""From the key that a request presents to the caller it names: one way for every route."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from tidegate.core.caller import DEFAULT_CALLER, Caller
from tidegate.core.cause import Cause
from tidegate.core.errors import Refusal
from tidegate.core.header_names import API_KEY, AUTHORIZATION
from tidegate.settings import CallerSettings

__all__ = ["Identifier", "key_hash", "presented_key"]

_MOST_ANONYMOUS_CALLERS: Final = 1_000
"""Keys beyond these share the default caller, so that invented keys cannot fill the memory."""


def key_hash(key: str) -> str:
    """SHA-256 of a key as 64 hex digits: what the configuration holds instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key in `x-api-key` or `Authorization: Bearer` (names in lower case); None when neither is there."""
    if key := headers.get(API_KEY, "").strip():
        return key
    scheme, _, token = headers.get(AUTHORIZATION, "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Identifier:
    """Names the caller of a request.

    With configured callers a key must be one of theirs. Without, every key is a caller of its own with weight 1, and no
    key is the default caller.
    """

    def __init__(self, callers: Sequence[CallerSettings] = ()) -> None:
        self._configured = {
            settings.key_sha256: Caller(
                settings.name, label=settings.name, weight=settings.weight, priority=settings.priority
            )
            for settings in callers
        }
        self._anonymous: dict[str, Caller] = {}

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller of a request with these headers.

        Raises:
            Refusal: UNAUTHENTICATED when callers are configured and the key is missing or not one of theirs.
        """
        key = presented_key(headers)
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
            if len(self._anonymous) >= _MOST_ANONYMOUS_CALLERS:
                return DEFAULT_CALLER
            caller = self._anonymous[key] = Caller(f"key-{key_hash(key)[:12]}")
        return caller
