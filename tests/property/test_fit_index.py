"""The index finds whom a search one by one would find."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.dimension import Cost
from tidegate.core.fit_index import FitIndex

UNITS = st.integers(0, 20)
COSTS = st.builds(Cost, UNITS, UNITS, UNITS)
PLACES = st.integers(0, 40)
STEPS = st.lists(st.tuples(PLACES, st.none() | st.tuples(COSTS, st.integers(0, 2), st.integers(0, 5))), max_size=80)


@given(steps=STEPS, most=COSTS, level=COSTS)
def test_the_soonest_of_those_who_may_go_is_found(
    steps: list[tuple[int, tuple[Cost, int, int] | None]], most: Cost, level: Cost
) -> None:
    def wait_ns(cost: Cost) -> int | None:
        if any(units > bound for units, bound in zip(cost, most, strict=True)):
            return None
        return max(0, *(units - there for units, there in zip(cost, level, strict=True)))

    index = FitIndex()
    standing: dict[int, tuple[Cost, tuple[int, float]]] = {}
    for place, somebody in steps:
        if somebody is None:
            index.remove(place)
            standing.pop(place, None)
        else:
            cost, rank, tag = somebody
            standing[place] = (cost, (rank, float(tag)))
            index.set(place, *standing[place])
    ways = [(waits_ns, order) for cost, order in standing.values() if (waits_ns := wait_ns(cost)) is not None]
    found = index.soonest(wait_ns)
    if found is None:
        assert ways == []
    else:
        place, waits_ns = found
        assert (waits_ns, standing[place][1]) == min(ways)
        assert wait_ns(standing[place][0]) == waits_ns
    index.clear()
    assert index.soonest(wait_ns) is None
