"""A dump does not show when the monotonic clock began: equal histories on two clocks give equal dumps."""

from hypothesis import given

from property.dumps.test_dumped_states import SEARCH_STEPS, DrivenSearch, History, histories
from support.dumps import START_NS
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
