"""Who floods a pool, and who only waits in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.observe.recent.flooders import Flooders

MINUTE_NS = 60_000_000_000
POOL = "sonnet-5-5"


def flooders(*, refusals: dict[str, int], admitted: tuple[str, ...] = ("web",)) -> Flooders:
    found = Flooders()
    for caller, count in refusals.items():
        for _ in range(count):
            found.observe_refusal(POOL, caller, 0)
    for caller in admitted:
        found.observe_admission(POOL, caller, 0)
    return found


@pytest.mark.parametrize(
    ("refusals", "admitted", "expected"),
    [
        pytest.param({"search": 3}, ("web", "search"), True, id="it alone is refused"),
        pytest.param({"search": 7, "web": 3}, ("web",), True, id="most refusals are its own"),
        pytest.param({"search": 6, "web": 3}, ("web",), False, id="others are refused, too"),
        pytest.param({"search": 2}, ("web",), False, id="a burst"),
        pytest.param({"search": 9}, ("search",), False, id="nobody else is served"),
        pytest.param({"web": 9}, ("web", "search"), False, id="another one floods"),
    ],
)
def test_a_caller_floods_if_it_has_most_refusals_while_others_are_admitted(
    refusals: dict[str, int], admitted: tuple[str, ...], *, expected: bool
) -> None:
    assert flooders(refusals=refusals, admitted=admitted).floods(POOL, "search", 0) is expected


def test_a_flood_of_one_pool_is_none_of_another() -> None:
    assert not flooders(refusals={"search": 9}).floods("haiku-5-5", "search", 0)


def test_a_flood_is_over_after_a_minute() -> None:
    found = flooders(refusals={"search": 9})
    found.observe_admission(POOL, "web", MINUTE_NS)
    assert not found.floods(POOL, "search", MINUTE_NS)


def test_admissions_of_others_count_for_a_minute() -> None:
    found = flooders(refusals={})
    for _ in range(3):
        found.observe_refusal(POOL, "search", MINUTE_NS - 1)
    assert found.floods(POOL, "search", MINUTE_NS - 1)
    for _ in range(3):
        found.observe_refusal(POOL, "search", MINUTE_NS)
    assert not found.floods(POOL, "search", MINUTE_NS)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 9)))
def test_at_most_one_caller_floods(refusals: dict[str, int]) -> None:
    found = flooders(refusals=refusals, admitted=tuple("abcde"))
    assert sum(found.floods(POOL, caller, 0) for caller in "abcde") <= 1
