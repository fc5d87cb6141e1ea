"""From a presented key to a caller: one way for every route."""

import hashlib

import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.transport import Fields
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
        ({b"x-api-key": "schlüssel".encode()}, "schlüssel"),
        ({b"authorization": b"Bearer " + "schlüssel".encode("latin-1")}, "schlüssel"),
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

    def test_a_thousand_keys_are_remembered_and_the_newest_is_always_one_of_them(self) -> None:
        identifier = Identifier()

        def identify(number: int) -> Caller:
            return identifier.identify({b"x-api-key": b"k%d" % number})

        callers = [identify(number) for number in range(1_000)]
        assert identify(0) is callers[0]
        newcomer = identify(1_000)
        assert len({caller.name for caller in (*callers, newcomer)}) == 1_001
        assert identify(1_000) is newcomer
        assert identify(0) is callers[0], "it was seen more recently than the one that made room"
        assert identify(1) is not callers[1]
        assert identify(1) == callers[1], "it has the same name again"
        assert len(identifier._anonymous) == 1_000


class TestWithConfiguredCallers:
    IDENTIFIER = Identifier(
        [CallerSettings(name="team-a", key_sha256=key_hash("key-a"), weight=2.0, priority=Priority.BATCH)]
    )

    def test_a_known_key_is_that_caller(self) -> None:
        team = Caller("team-a", label="team-a", weight=2.0, priority=Priority.BATCH)
        assert self.IDENTIFIER.identify({b"x-api-key": b"key-a"}) == team
        assert self.IDENTIFIER.identify({b"authorization": b"Bearer key-a"}) == team

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_a_key_may_have_other_characters_than_ascii(self, encoding: str) -> None:
        identifier = Identifier(
            [CallerSettings(name="team-u", key_sha256=hashlib.sha256("schlüssel".encode()).hexdigest())]
        )
        assert identifier.identify({b"x-api-key": "schlüssel".encode(encoding)}).name == "team-u"

    @pytest.mark.parametrize("fields", [{}, {b"x-api-key": b"wrong-key"}, {b"x-api-key": key_hash("key-a").encode()}])
    def test_any_other_is_refused_without_naming_the_key(self, fields: Fields) -> None:
        with pytest.raises(Refusal) as refused:
            self.IDENTIFIER.identify(fields)
        assert refused.value.cause is Cause.UNAUTHENTICATED
        assert ("is missing" if not fields else "is not a caller's") in str(refused.value)
        assert all(key.decode() not in str(refused.value) for key in fields.values())
