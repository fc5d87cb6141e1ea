"""From a presented key to a caller: one way for every route."""

import hashlib

import pytest

from tidegate.core.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.cause import Cause
from tidegate.core.errors import Refusal
from tidegate.identity.identify import Identifier, key_hash, presented_key
from tidegate.settings import CallerSettings


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "k1"}, "k1"),
        ({"x-api-key": " k1 "}, "k1"),
        ({"authorization": "Bearer k2"}, "k2"),
        ({"authorization": "bearer  k2 "}, "k2"),
        ({"x-api-key": "k1", "authorization": "Bearer k2"}, "k1"),
        ({"x-api-key": " ", "authorization": "Bearer k2"}, "k2"),
        ({"authorization": "Basic k2"}, None),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Bearer  "}, None),
        ({"x-api-key": ""}, None),
        ({}, None),
    ],
)
def test_where_a_key_may_be(headers: dict[str, str], key: str | None) -> None:
    assert presented_key(headers) == key


def test_a_hash_is_lower_case_sha256_hex() -> None:
    assert key_hash("k") == hashlib.sha256(b"k").hexdigest()


class TestWithoutConfiguredCallers:
    def test_no_key_is_the_default_caller(self) -> None:
        assert Identifier().identify({}) is DEFAULT_CALLER

    def test_every_key_is_a_caller_of_its_own_with_weight_1(self) -> None:
        identifier = Identifier()
        first, second = identifier.identify({"x-api-key": "k1"}), identifier.identify({"x-api-key": "k2"})
        assert first.name != second.name
        assert (first.label, first.weight, first.priority) == ("default", 1.0, Priority.STANDARD)
        assert identifier.identify({"authorization": "Bearer k1"}) is first

    def test_a_name_does_not_tell_the_key(self) -> None:
        assert Identifier().identify({"x-api-key": "secret"}).name == f"key-{key_hash('secret')[:12]}"

    def test_keys_beyond_a_thousand_share_the_default_caller(self) -> None:
        identifier = Identifier()
        callers = [identifier.identify({"x-api-key": f"k{number}"}) for number in range(1_001)]
        assert len({caller.name for caller in callers[:1_000]}) == 1_000
        assert DEFAULT_CALLER not in callers[:1_000]
        assert callers[1_000] is DEFAULT_CALLER
        assert identifier.identify({"x-api-key": "k0"}) is callers[0]


class TestWithConfiguredCallers:
    IDENTIFIER = Identifier(
        [CallerSettings(name="team-a", key_sha256=key_hash("key-a"), weight=2.0, priority=Priority.BATCH)]
    )

    def test_a_known_key_is_that_caller(self) -> None:
        team = Caller("team-a", label="team-a", weight=2.0, priority=Priority.BATCH)
        assert self.IDENTIFIER.identify({"x-api-key": "key-a"}) == team
        assert self.IDENTIFIER.identify({"authorization": "Bearer key-a"}) == team

    @pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong-key"}, {"x-api-key": key_hash("key-a")}])
    def test_any_other_is_refused_without_naming_the_key(self, headers: dict[str, str]) -> None:
        with pytest.raises(Refusal) as refused:
            self.IDENTIFIER.identify(headers)
        assert refused.value.cause is Cause.UNAUTHENTICATED
        assert ("is missing" if not headers else "is not a caller's") in str(refused.value)
        assert all(key not in str(refused.value) for key in headers.values())
