"""Pools continue from a dump with their live work exactly as if they had never stopped."""

from hypothesis import given
from hypothesis import strategies as st

from support.dumps import START_NS, round_trip, without_times_that_are_not_set
from support.pool_steps import ADAPTIVE, SETTINGS, Choose, DrivenFold, StepSource
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.stores.fold import Fold
from tidegate.stores.pools import Pools

SLICE_NS = 10 * S
"""A pool that is made after the dump begins its slices of time at multiples of this by its clock."""


def check(choose: Choose, before: int, after: int, shift_ns: int) -> None:
    """Dumps a fold after some steps, restores it under another clock, and compares both in all further steps."""
    source, now_ns = StepSource(choose), START_NS
    original = DrivenFold(Fold(Pools({"default": ADAPTIVE, "q": choose(SETTINGS)}, choose(SETTINGS))))
    for _ in range(before):
        passed_ns, step = source.draw(original.wakes)
        now_ns += passed_ns
        original.apply(step, now_ns)
    state = original.fold.dump(now_ns)
    assert original.fold.pools.take_changes() == []
    copy = original.continued(round_trip(state), now_ns + shift_ns)
    assert copy.fold.pools.take_changes() == [], "nothing has happened"
    assert copy.fold.dump(now_ns + shift_ns) == state
    for _ in range(after):
        passed_ns, step = source.draw(original.wakes)
        now_ns += passed_ns
        assert copy.apply(step, now_ns + shift_ns) == original.apply(step, now_ns), step
    dumps = [copy.fold.dump(now_ns + shift_ns), original.fold.dump(now_ns)]
    assert without_times_that_are_not_set(dumps[0]) == without_times_that_are_not_set(dumps[1])


@given(st.data(), st.integers(0, 25), st.integers(0, 15), st.integers(-(10**4), 10**4))
def test_pools_continue_with_all_their_work(data: st.DataObject, before: int, after: int, slices: int) -> None:
    check(lambda options: data.draw(st.sampled_from(options)), before, after, slices * SLICE_NS)
