"""It does not show when the monotonic clock began: equal histories on two clocks give equal results and dumps."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from property.dumps.test_dumped_states import SEARCH_STEPS, DrivenSearch, History, histories
from property.test_pool_state import SETTINGS, STEPS, Driven
from support.dumps import START_NS
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.pool.pool import Pool
from tidegate.core.rate_search.rate_search import RateSearch, RateSearchState


def dump_after(history: History, shift_ns: int) -> RateSearchState:
    """The dump of a search that begins at `START_NS + shift_ns`."""
    now_ns = START_NS + shift_ns
    search = DrivenSearch(RateSearch(now_ns), [], now_ns)
    for passed_ns, step in history.before:
        now_ns += passed_ns
        search.act(step, now_ns)
    return search.dump(now_ns)


@given(histories(SEARCH_STEPS, most=80))
def test_a_rate_search_dumps_the_same_on_two_clocks(history: History) -> None:
    assert dump_after(history, 0) == dump_after(history, history.shift_ns)


@given(SETTINGS, STEPS, st.integers(0, 3))
def test_a_pool_behaves_the_same_just_after_the_clock_began(
    settings: PoolSettings, steps: list[Any], seconds: int
) -> None:
    """What has never happened is not taken to have happened when the clock began."""
    young_ns = START_NS % S + seconds * S  # at the same place in a second: use is counted in slices of time
    old, young, passed_ns = Driven(Pool("p", settings, START_NS)), Driven(Pool("p", settings, young_ns)), 0
    for after_ns, step in steps:
        passed_ns += after_ns
        assert young.step(step, young_ns + passed_ns) == old.step(step, START_NS + passed_ns), step
