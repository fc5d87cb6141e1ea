"""The state of a key."""

import pytest

from tidegate.core.domain.caller import Role
from tidegate.core.ports.key_store import KeyInfo


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "states"),
    [
        (None, None, ["valid", "valid"]),
        (100, None, ["valid", "expired"]),
        (None, 7, ["revoked", "revoked"]),
        (100, 7, ["revoked", "revoked"]),
    ],
)
def test_a_key_is_valid_until_it_expires_or_is_revoked(
    expires_at: int | None, revoked_at: int | None, states: list[str]
) -> None:
    key = KeyInfo("k", "ann", "default", Role.CALLER, 0, "root", expires_at, revoked_at)
    assert [key.state(99.9), key.state(100)] == states
