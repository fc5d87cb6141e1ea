"""The protocols of the ledger's keys: what identity asks for each request, and what administration does with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tidegate.core.domain.caller import Caller, Priority, Role

__all__ = ["KeyAdministration", "KeyInfo", "KeyStore", "NewCaller", "NewKey", "StoredKey"]


class StoredKey(NamedTuple):
    """A valid key: whose it is, and what it allows."""

    caller: Caller
    role: Role


class KeyStore(Protocol):
    """Finds keys. No method waits for the database. Thread-safe."""

    @property
    def is_used(self) -> bool | None:
        """Whether a key was ever created, valid or not. Then nobody may call without one. None: not known yet."""
        ...

    def find(self, key_sha256: str) -> StoredKey | None:
        """The key with this SHA-256 as 64 hex digits; None if there is none that is valid now.

        Raises:
            Refusal: LEDGER_UNAVAILABLE if the keys were never read, because the database did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class NewCaller:
    """A caller to create. `models` are the only ones that it may use; empty: all."""

    name: str
    team: str
    role: Role = Role.CALLER
    weight: float = 1.0
    priority: Priority = Priority.STANDARD
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just created. `key` is shown once and stored nowhere.

    Attributes:
        old_key: id of the key that it replaces; None if it replaces none.
        old_valid_until: when that one expires, in seconds since 1970-01-01 UTC.
    """

    id: str
    caller: str
    key: str
    expires_at: int | None
    old_key: str | None = None
    old_valid_until: int | None = None


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key in the ledger, without anything secret. Times are in seconds since 1970-01-01 UTC."""

    id: str
    caller: str
    team: str
    role: Role
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.expires_at is None or now < self.expires_at else "expired"


class KeyAdministration(Protocol):
    """Creates and ends keys. Waits for the database: never call it in an event loop.

    Every method raises `LedgerUnavailable` if the database does not answer, and `ConfigurationError` if a value is not
    allowed. A change is in effect in this process when the method returns, and in others within a second.
    """

    def create(self, caller: NewCaller, *, expires_at: int | None, by: str) -> NewKey:
        """Creates a caller and its first key."""
        ...

    def rotate(self, caller: str, *, grace_seconds: int, by: str) -> NewKey:
        """Creates a second key. The first stays valid for a time."""
        ...

    def revoke(self, key_or_caller: str, *, by: str) -> Sequence[KeyInfo]:
        """Ends a key at once, or all keys of a caller; returns those that ended."""
        ...

    def expire(self, key: str, at: int, *, by: str) -> KeyInfo:
        """Lets a key end at a moment."""
        ...

    def all_keys(self) -> Sequence[KeyInfo]:
        """All keys, by caller and time of creation."""
        ...
