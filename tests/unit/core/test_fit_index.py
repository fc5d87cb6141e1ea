"""The index by example: everybody is found, wherever they stand, and after few looks."""

import pytest

from tidegate.core.dimension import Cost
from tidegate.core.fit_index import FitIndex

PLACES = 40


def full() -> FitIndex:
    """The cheapest stands at the last place."""
    index = FitIndex()
    for place in range(PLACES):
        index.set(place, Cost(1, 1_000 - place, 1_000 - place), (0, float(place)))
    return index


def input_tokens(cost: Cost) -> int:
    return cost.input_tokens


@pytest.mark.parametrize("place", range(PLACES))
def test_one_alone_is_found_wherever_it_stands_and_forgotten_on_clearing(place: int) -> None:
    index = FitIndex()
    index.set(place, Cost(1, 7), (0, 0.0))
    assert index.soonest(input_tokens) == (place, 7)
    index.clear()
    assert index.soonest(input_tokens) is None


def test_all_are_found_one_after_another() -> None:
    index = full()
    found = []
    while (soonest := index.soonest(input_tokens)) is not None:
        found.append(soonest[0])
        index.remove(soonest[0])
    assert found == list(reversed(range(PLACES)))


@pytest.mark.parametrize("standing", range(1, 9))
def test_who_stood_there_before_it_grew_is_still_found(standing: int) -> None:
    index = FitIndex()
    for place in range(standing):
        index.set(place, Cost(1, 10 + place), (0, 0.0))
    index.set(8, Cost(1, 1_000), (0, 0.0))
    for place in range(standing):
        assert index.soonest(input_tokens) == (place, 10 + place)
        index.remove(place)
    assert index.soonest(input_tokens) == (8, 1_000)


def test_the_order_decides_between_those_who_may_go_equally_soon() -> None:
    index = FitIndex()
    for place in range(PLACES):
        index.set(place, Cost(1), ((place + 7) % PLACES, 0.0))
    assert index.soonest(lambda _cost: 0) == (PLACES - 7, 0)


@pytest.mark.parametrize("dimension", range(3))
def test_few_are_looked_at_where_one_dimension_decides(dimension: int) -> None:
    index, looks = FitIndex(), 0
    for place in range(1_024):
        index.set(place, Cost(*[500 + place if each == dimension else 7 for each in range(3)]), (1, float(place)))

    def wait_ns(cost: Cost) -> int:
        nonlocal looks
        looks += 1
        return cost[dimension]

    assert index.soonest(wait_ns) == (0, 500)
    assert looks <= 2 * 10 + 1
