"""Each mechanism in `core/failures` continues from its dump as if it had never stopped."""

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import given
from msgspec import Struct

from support.dumps import START_NS, assert_continues
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.circuit_breaker import CircuitBreaker
from tidegate.core.failures.concurrency_limit import ConcurrencyLimit
from tidegate.core.failures.failure_tracker import FailureTracker, FailureTrackerState
from tidegate.core.failures.probing import Probing
from tidegate.core.failures.retry_budget import RetryBudget
from tidegate.core.failures.retry_gate import RetryGate, RetryGateState
from tidegate.core.failures.spend_cap_circuit import SpendCapCircuit

if TYPE_CHECKING:
    from tidegate.core.domain.events import Event

PASSED_NS = st.sampled_from([0, 1, S // 100, S // 7, S, 3 * S, 11 * S, 31 * S, 70 * S, 1_000 * S])
AGES_NS = st.sampled_from([0, S // 100, S // 10, S, 30 * S])
COUNTS = st.sampled_from([0, 1, 5, 20, 100])
SHIFTS_NS = st.integers(-(10**15), 10**15)


def steps(*operations: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[int, Any]]]:
    return st.lists(st.tuples(PASSED_NS, st.one_of(*operations)), max_size=40)


def named(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *arguments)


PROBING = steps(
    named("start"),
    named("refused", AGES_NS, st.booleans(), st.booleans()),
    named("stop"),
    named("sent", st.sampled_from([0, S // 50, S])),
    named("ended", AGES_NS),
    named("answered", AGES_NS),
)


def probe(probing: Probing, step: tuple[Any, ...], now_ns: int) -> object:
    result: object = None
    match step:
        case ("start",):
            probing.start(now_ns)
        case ("refused", ago_ns, waves, is_bounded):
            probing.refused(now_ns, now_ns - ago_ns, waves=waves, is_bounded=is_bounded)
        case ("stop",):
            probing.stop()
        case ("sent", refill_ns):
            probing.sent(now_ns, refill_ns)
        case ("ended", ago_ns):
            probing.ended(now_ns - ago_ns)
        case (_, ago_ns):
            result = probing.answered(now_ns - ago_ns)
    return result, probing.active, probing.wait_ns(now_ns), probing.is_next_alone(now_ns)


@given(PROBING, PROBING, SHIFTS_NS)
def test_probing(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(Probing(START_NS), probe, Probing.restore, history, continuation, shift_ns)


BREAKER = steps(
    named("failed", AGES_NS),
    named("failed", AGES_NS),
    named("answered", AGES_NS),
    named("sent"),
    named("ended", AGES_NS),
)


def break_circuit(breaker: CircuitBreaker, step: tuple[Any, ...], now_ns: int) -> object:
    result: object = None
    match step:
        case ("failed", ago_ns):
            result = breaker.failed(now_ns - ago_ns, now_ns)
        case ("answered", ago_ns):
            result = breaker.answered(now_ns - ago_ns)
        case ("sent",):
            breaker.sent(now_ns)
        case (_, ago_ns):
            breaker.ended(now_ns - ago_ns)
    wait_ns = breaker.wait_ns(now_ns)
    return result, breaker.is_open, breaker.is_in_doubt, breaker.is_next_alone(now_ns), wait_ns


@given(BREAKER, BREAKER, SHIFTS_NS)
def test_a_circuit_breaker(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(CircuitBreaker(START_NS), break_circuit, CircuitBreaker.restore, history, continuation, shift_ns)


CONCURRENCY = steps(
    named("answered", COUNTS, AGES_NS), named("failed", COUNTS, AGES_NS, st.booleans()), named("recovered")
)


def limit_concurrency(limit: ConcurrencyLimit, step: tuple[Any, ...], now_ns: int) -> object:
    match step:
        case ("answered", unanswered, ago_ns):
            limit.answered(unanswered, now_ns - ago_ns)
        case ("failed", unanswered, ago_ns, outage):
            limit.failed(unanswered, now_ns - ago_ns, now_ns, outage=outage)
        case _:
            limit.recovered()
    return limit.limit(now_ns), limit.fits(7, now_ns), [limit.fits_again(unanswered) for unanswered in range(0, 90, 9)]


@given(CONCURRENCY, CONCURRENCY, SHIFTS_NS)
def test_a_concurrency_limit(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(
        ConcurrencyLimit(START_NS), limit_concurrency, ConcurrencyLimit.restore, history, continuation, shift_ns
    )


BUDGET = steps(named("succeeded"), named("retried"), named("retried"))


def spend_budget(budget: RetryBudget, step: tuple[Any, ...], now_ns: int) -> object:
    if step == ("succeeded",):
        budget.succeeded(now_ns)
    else:
        budget.retried(now_ns)
    return budget.left(now_ns), budget.wait_ns(now_ns)


@given(BUDGET, BUDGET, SHIFTS_NS)
def test_a_retry_budget(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(RetryBudget(), spend_budget, RetryBudget.restore, history, continuation, shift_ns)


CAP = steps(
    named("reached", st.sampled_from([None, -S, S, 3_600 * S])),
    named("close_if_due"),
    named("try_probe"),
    named("answered", AGES_NS),
    named("close"),
)


def reach_cap(circuit: SpendCapCircuit, step: tuple[Any, ...], now_ns: int) -> object:
    result: object = None
    match step:
        case ("reached", ends_in_ns):
            result = circuit.reached(ends_in_ns, now_ns)
        case ("answered", ago_ns):
            result = circuit.answered(now_ns - ago_ns)
        case ("close",):
            circuit.close()
        case (name,):
            if circuit.is_open(now_ns):
                result = getattr(circuit, name)(now_ns)
    return result, circuit.is_open(now_ns) and circuit.retry_after_ns(now_ns)


@given(CAP, CAP, SHIFTS_NS)
def test_a_spend_cap_circuit(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(SpendCapCircuit(), reach_cap, SpendCapCircuit.restore, history, continuation, shift_ns)


TRACKER = steps(
    named("sent"),
    named("failed", AGES_NS),
    named("failed", AGES_NS),
    named("answered", AGES_NS),
    named("spend_cap_reached", st.sampled_from([None, S, 3_600 * S])),
    named("clear_spend_cap"),
    named("refusal"),
    named("retry"),
)


class _FailuresState(Struct, frozen=True, array_like=True):
    tracker: FailureTrackerState
    gate: RetryGateState


class Failures:
    """A tracker and its gate. Requests end in the step in which they are sent."""

    def __init__(self, now_ns: int, state: _FailuresState | None = None) -> None:
        self.events: list[Event] = []
        if state is None:
            self.tracker = FailureTracker("p", self.events, now_ns)
            self.gate = RetryGate(self.tracker, now_ns)
        else:
            self.tracker = FailureTracker.restore(state.tracker, now_ns, "p", self.events)
            self.gate = RetryGate.restore(state.gate, now_ns, self.tracker)

    def dump(self, now_ns: int) -> _FailuresState:
        return _FailuresState(self.tracker.dump(now_ns), self.gate.dump(now_ns))

    def step(self, step: tuple[Any, ...], now_ns: int) -> object:
        tracker = self.tracker
        result: object = None
        match step:
            case ("sent",):
                tracker.sent(now_ns)
                tracker.ended(now_ns, answered=False)
            case ("failed", ago_ns):
                tracker.failed(now_ns - ago_ns, now_ns)
            case ("answered", ago_ns):
                tracker.answered(now_ns - ago_ns, now_ns)
            case ("spend_cap_reached", ends_in_ns):
                result = tracker.spend_cap_reached(ends_in_ns, now_ns)
            case ("clear_spend_cap",):
                tracker.clear_spend_cap(now_ns)
            case ("refusal",):
                result = tracker.refusal(now_ns)
            case _:
                self.gate.sent(now_ns)
        events = tuple(self.events)
        self.events.clear()
        counts = tracker.outage_changes, tracker.unanswered, tracker.budget.left(now_ns)
        circuits = tracker.is_outage, tracker.is_spend_capped, list(tracker.open_circuits(now_ns))
        waits = tracker.wait_ns(now_ns), tracker.concurrency_limit(now_ns), self.gate.wait_ns(now_ns)
        return result, events, counts, circuits, waits


@given(TRACKER, TRACKER, SHIFTS_NS)
def test_all_consequences_of_failures(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    def restore(state: Any, now_ns: int) -> Failures:
        return Failures(now_ns, state)

    assert_continues(Failures(START_NS), Failures.step, restore, history, continuation, shift_ns)
