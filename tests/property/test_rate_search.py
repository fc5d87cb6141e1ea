"""A rate search under any sequence of answers and refusals: it never raises, and its rates are finite and above 0."""

from math import isfinite
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidegate.core.domain.dimension import DIMENSIONS, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_search import ENDPOINT_PER_SECOND, START_PER_SECOND, RateSearch

COSTS = st.builds(Cost, st.just(1), st.sampled_from([0, 1, 700, 200_000]), st.just(0))
STEPS_NS = (
    st.integers(0, 2 * NS_PER_SECOND)
    | st.integers(0, 200 * NS_PER_SECOND)
    | st.sampled_from([1, 10_000 * 3_600 * NS_PER_SECOND])
)
RETRY_AFTER_NS = st.none() | st.sampled_from([0, 1, NS_PER_SECOND, 12 * NS_PER_SECOND, 300 * NS_PER_SECOND])


class Sent(NamedTuple):
    """A request in flight."""

    at_ns: int
    cost: Cost


class RateSearchMachine(RuleBasedStateMachine):
    """Sends requests, ends them in every way, and lets time pass. The order of calls is that of `Quota`."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_SECOND
        self.in_flight: list[Sent] = []
        self.last_refusal_ns = self.now_ns

    @initialize(start=st.sampled_from([START_PER_SECOND, ENDPOINT_PER_SECOND]), older=st.lists(COSTS, max_size=12))
    def begin(self, start: float, older: list[Cost]) -> None:
        """A search may begin while requests are in flight, which it was not told of."""
        self.in_flight = [Sent(self.now_ns, cost) for cost in older]
        self.now_ns += 1
        self.search = RateSearch(self.now_ns, start)

    def pick(self, data: st.DataObject) -> Sent:
        return self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))

    def give_back(self, sent: Sent) -> None:
        """The request turned out to use nothing."""
        self.search.ended()
        self.search.corrected(Cost().minus(sent.cost), sent.at_ns)

    @rule(cost=COSTS, count=st.integers(1, 40), within_ns=st.sampled_from([0, NS_PER_SECOND // 50, NS_PER_SECOND]))
    def send(self, cost: Cost, count: int, within_ns: int) -> None:
        for _ in range(count):
            self.now_ns += within_ns
            self.search.sent(cost, self.now_ns)
            self.in_flight.append(Sent(self.now_ns, cost))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), input_tokens=st.integers(0, 300_000), output_tokens=st.integers(0, 30_000))
    def answer(self, data: st.DataObject, input_tokens: int, output_tokens: int) -> None:
        sent = self.pick(data)
        self.search.corrected(Cost(0, input_tokens - sent.cost.input_tokens, output_tokens), self.now_ns)
        self.search.ended()

    @precondition(lambda self: self.in_flight)
    @rule(share=st.floats(0, 1), newest=st.booleans())
    def answer_400(self, share: float, *, newest: bool) -> None:
        """This share of those in flight, the newest or the oldest, use nothing."""
        for _ in range(1 + round(share * (len(self.in_flight) - 1))):
            self.give_back(self.in_flight.pop(-1 if newest else 0))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), retry_after_ns=RETRY_AFTER_NS, pause_ns=st.integers(0, 60 * NS_PER_SECOND))
    def refuse(self, data: st.DataObject, retry_after_ns: int | None, pause_ns: int) -> None:
        sent = self.pick(data)
        self.give_back(sent)
        if sent.at_ns < self.last_refusal_ns:
            return  # that refusal is one with the last
        self.last_refusal_ns = self.now_ns
        self.search.refused(sent.at_ns, self.now_ns, retry_after_ns=retry_after_ns, pause_ns=pause_ns, needed=sent.cost)

    @rule(step_ns=STEPS_NS, times=st.integers(1, 5))
    def let_time_pass(self, step_ns: int, times: int) -> None:
        for _ in range(times):
            self.now_ns += step_ns
            self.search.per_second(self.now_ns)

    @invariant()
    def rates_are_finite_and_above_0(self) -> None:
        if not hasattr(self, "search"):
            return
        rates = [rate for rate in self.search.per_second(self.now_ns) if rate is not None]
        assert len(rates) == 1 <= len(DIMENSIONS)
        assert isfinite(rates[0])
        assert rates[0] > 0
        assert 0 < self.search.share <= 1
        assert 0 <= self.search.wait_ns(self.now_ns) <= 60 * NS_PER_SECOND


TestRateSearchMachine = RateSearchMachine.TestCase
TestRateSearchMachine.settings = settings(stateful_step_count=30)
