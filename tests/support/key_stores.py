"""A `KeyStore` in memory."""

from dataclasses import dataclass, field

from tidegate.core.domain.caller import Caller, Role
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.key_store import StoredKey
from tidegate.identity.identify import key_hash


@dataclass
class FakeKeyStore:
    """Holds keys by hash. `is_used` None: the keys were never read."""

    is_used: bool | None = False
    stored: dict[str, StoredKey] = field(default_factory=dict)

    def add(self, key: str, name: str, role: Role = Role.CALLER) -> None:
        self.is_used = True
        self.stored[key_hash(key)] = StoredKey(Caller(name, label=name), role)

    def find(self, key_sha256: str) -> StoredKey | None:
        if self.is_used is None:
            raise Refusal(Cause.LEDGER_UNAVAILABLE, "the keys cannot be read from the ledger yet")
        return self.stored.get(key_sha256)
