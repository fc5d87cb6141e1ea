"""From a presented key to a caller: one way for every route."""

import hashlib

import pytest

from tidegate.core.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.cause import Cause
from tidegate.core.errors import Refusal
from tidegate.core.transport import Fields
from tidegate.identity.identify import Identifier, key_hash, presented_key
from tidegate.settings import CallerSettings


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({b"x-api-key": b"k1"}, "k1"),
        ({b"x-api-key": b" k1 "}, "k1"),
        ({b"authorization": b"Bearer k2"}, "k2"),
        ({b"authorization": b"bearer  k2 "}, "k2"),
        ({b"x-api-key": b"k1", b"authorization": b"Bearer k2"}, "k1"),
        ({b"x-api-key": b" ", b"authorization": b"Bearer k2"}, "k2"),
        ({b"authorization": b"Basic k2"}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"Bearer  "}, None),
        ({b"x-api-key": b""}, None),
        ({}, None),
    ],
)
def test_where_a_key_may_be(fields: Fields, key: str | None) -> None:
    assert presented_key(fields) == key


def test_a_hash_is_lower_case_sha256_hex() -> None:
    assert key_hash("k") == hashlib.sha256(b"k").hexdigest()


class TestWithoutConfiguredCallers:
    def test_no_key_is_the_default_caller(self) -> None:
        assert Identifier().identify({}) is DEFAULT_CALLER

    def test_every_key_is_a_caller_of_its_own_with_weight_1(self) -> None:
        identifier = Identifier()
        first, second = identifier.identify({b"x-api-key": b"k1"}), identifier.identify({b"x-api-key": b"k2"})
        assert first.name != second.name
        assert (first.label, first.weight, first.priority) == ("default", 1.0, Priority.STANDARD)
        assert identifier.identify({b"authorization": b"Bearer k1"}) is first

    def test_a_name_does_not_tell_the_key(self) -> None:
        assert Identifier().identify({b"x-api-key": b"secret"}).name == f"key-{key_hash('secret')[:12]}"

    def test_keys_beyond_a_thousand_share_the_default_caller(self) -> None:
        identifier = Identifier()
        callers = [identifier.identify({b"x-api-key": b"k%d" % number}) for number in range(1_001)]
        assert len({caller.name for caller in callers[:1_000]}) == 1_000
        assert DEFAULT_CALLER not in callers[:1_000]
        assert callers[1_000] is DEFAULT_CALLER
        assert identifier.identify({b"x-api-key": b"k0"}) is callers[0]


class TestWithConfiguredCallers:
    IDENTIFIER = Identifier(
        [CallerSettings(name="team-a", key_sha256=key_hash("key-a"), weight=2.0, priority=Priority.BATCH)]
    )

    def test_a_known_key_is_that_caller(self) -> None:
        team = Caller("team-a", label="team-a", weight=2.0, priority=Priority.BATCH)
        assert self.IDENTIFIER.identify({b"x-api-key": b"key-a"}) == team
        assert self.IDENTIFIER.identify({b"authorization": b"Bearer key-a"}) == team

    @pytest.mark.parametrize("fields", [{}, {b"x-api-key": b"wrong-key"}, {b"x-api-key": key_hash("key-a").encode()}])
    def test_any_other_is_refused_without_naming_the_key(self, fields: Fields) -> None:
        with pytest.raises(Refusal) as refused:
            self.IDENTIFIER.identify(fields)
        assert refused.value.cause is Cause.UNAUTHENTICATED
        assert ("is missing" if not fields else "is not a caller's") in str(refused.value)
        assert all(key.decode() not in str(refused.value) for key in fields.values())
