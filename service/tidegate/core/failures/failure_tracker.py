"""The consequences of upstream failures for one pool: spend cap, outage, concurrency limit and retry budget.

None of them depends on quota. While the upstream is healthy, none of them limits anything.
"""

from collections.abc import Iterator
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Refused
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, Event
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.circuit_breaker import CircuitBreaker, CircuitBreakerState
from tidegate.core.failures.concurrency_limit import ConcurrencyLimit, ConcurrencyLimitState
from tidegate.core.failures.retry_budget import RetryBudget, RetryBudgetState
from tidegate.core.failures.spend_cap_circuit import SpendCapCircuit, SpendCapCircuitState

__all__ = ["FailureTracker", "FailureTrackerState"]

_LOOK_AGAIN_NS: Final = NS_PER_SECOND
"""The answers of other requests wake the waiters. This is a fallback in case none comes."""


class FailureTrackerState(Struct, frozen=True, array_like=True):
    """The dump of a `FailureTracker`. Requests in flight are not part of it."""

    breaker: CircuitBreakerState
    concurrency: ConcurrencyLimitState
    budget: RetryBudgetState
    spend_cap: SpendCapCircuitState
    outage_changes: int
    restricts: bool
    is_in_doubt: bool


class FailureTracker:
    """Decides who may go as far as failures are concerned, independently of the quota. `now_ns` is monotonic time.

    Attributes:
        budget: the retry budget.
        outage_changes: how often an outage has begun or ended.
        unanswered: requests in flight that have no head of an answer yet.
    """

    __slots__ = (
        "_breaker",
        "_concurrency",
        "_events",
        "_is_in_doubt",
        "_name",
        "_restricts",
        "_spend_cap",
        "budget",
        "outage_changes",
        "unanswered",
    )

    def __init__(self, name: str, events: list[Event], now_ns: int) -> None:
        self.budget = RetryBudget()
        self.outage_changes = 0
        self.unanswered = 0
        self._name = name
        self._events = events
        self._breaker = CircuitBreaker(now_ns)
        self._concurrency = ConcurrencyLimit(now_ns)
        self._spend_cap = SpendCapCircuit()
        # Two flags, so that a healthy pool checks one attribute per request.
        self._restricts = False  # whether the breaker or the concurrency limit may hold a request back
        self._is_in_doubt = False  # whether an answer may end an outage or a spend cap

    def dump(self, now_ns: int) -> FailureTrackerState:
        """The state, for `restore`."""
        return FailureTrackerState(
            self._breaker.dump(now_ns),
            self._concurrency.dump(now_ns),
            self.budget.dump(now_ns),
            self._spend_cap.dump(now_ns),
            self.outage_changes,
            self._restricts,
            self._is_in_doubt,
        )

    @classmethod
    def restore(cls, state: FailureTrackerState, now_ns: int, name: str, events: list[Event]) -> Self:
        """A tracker that continues from `state`, with no request in flight."""
        tracker = cls(name, events, now_ns)
        tracker.budget = RetryBudget.restore(state.budget, now_ns)
        tracker.outage_changes = state.outage_changes
        tracker._breaker = CircuitBreaker.restore(state.breaker, now_ns)
        tracker._concurrency = ConcurrencyLimit.restore(state.concurrency, now_ns)
        tracker._spend_cap = SpendCapCircuit.restore(state.spend_cap, now_ns)
        tracker._restricts = state.restricts
        tracker._is_in_doubt = state.is_in_doubt
        return tracker

    @property
    def is_outage(self) -> bool:
        """Whether there is an outage."""
        return self._breaker.is_open

    @property
    def is_spend_capped(self) -> bool:
        """Whether a spend cap was reached, and no answer or operator has ended that."""
        return self._spend_cap.opened_ns is not None

    @property
    def late_cause(self) -> Cause:
        """The cause of a wait that is too long."""
        return Cause.UPSTREAM_OUTAGE if self.is_outage else Cause.DEADLINE

    def refusal(self, now_ns: int) -> Refused | None:
        """The refusal of every request while a spend cap is reached; None if the request may go (as a probe, too)."""
        cap = self._spend_cap
        if cap.close_if_due(now_ns):
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))
        if not cap.is_open(now_ns) or cap.try_probe(now_ns):
            return None
        return Refused(Cause.SPEND_CAP, cap.retry_after_ns(now_ns))

    def admits(self, now_ns: int) -> bool:
        """Whether one more request may go now as far as failures are concerned."""
        if not self._restricts:
            return True
        if self._breaker.is_open:
            if self._breaker.wait_ns(now_ns):
                return False
            return self._breaker.is_next_alone(now_ns) or self._concurrency.fits_again(self.unanswered)
        self._restricts = self._concurrency.limit(now_ns) is not None
        return self._concurrency.fits(self.unanswered, now_ns)

    def wait_ns(self, now_ns: int) -> int:
        """Time until one more request may go, at the latest. An answer may let it go earlier."""
        if self.admits(now_ns):
            return 0
        return self._breaker.wait_ns(now_ns) or _LOOK_AGAIN_NS

    def binding(self) -> str:
        """The reason that the next request is held back: `outage` or `concurrency`."""
        return "outage" if self._breaker.is_open else "concurrency"

    def sent(self, now_ns: int) -> None:
        """A request goes."""
        self.unanswered += 1
        if self._restricts:
            self._breaker.sent(now_ns)

    def ended(self, granted_ns: int, *, answered: bool) -> None:
        """A request that was granted at `granted_ns` ended. `answered`: the head of its answer had come before."""
        if not answered:
            self.unanswered -= 1
        if self._restricts:
            self._breaker.ended(granted_ns)

    def answered(self, sent_ns: int, now_ns: int) -> None:
        """The head of a good answer came for a request sent at `sent_ns`, which still counts as unanswered here."""
        self.budget.succeeded(now_ns)
        if self._is_in_doubt:
            self._note_recovery(sent_ns)
        self._concurrency.answered(self.unanswered, sent_ns)

    def _note_recovery(self, sent_ns: int) -> None:
        if self._breaker.answered(sent_ns):
            self.outage_changes += 1
            self._concurrency.recovered()
            self._events.append(CircuitClosed(self._name, Cause.UPSTREAM_OUTAGE))
        if self._spend_cap.answered(sent_ns):
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))
        self._is_in_doubt = self._breaker.is_in_doubt or self.is_spend_capped

    def failed(self, sent_ns: int, now_ns: int) -> None:
        """A request sent at `sent_ns`, which still counts as unanswered, got 529, 5xx or no answer."""
        self._restricts = self._is_in_doubt = True
        self._concurrency.failed(self.unanswered, sent_ns, now_ns, outage=self._breaker.is_open)
        if self._breaker.failed(sent_ns, now_ns):
            self.outage_changes += 1
            self._events.append(CircuitOpened(self._name, Cause.UPSTREAM_OUTAGE, None))

    def spend_cap_reached(self, ends_in_ns: int | None, now_ns: int) -> Refused:
        """A spend cap is reached. Returns the refusal of all waiters."""
        self._is_in_doubt = True
        if self._spend_cap.reached(ends_in_ns, now_ns):
            self._events.append(CircuitOpened(self._name, Cause.SPEND_CAP, ends_in_ns))
        return Refused(Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns))

    def clear_spend_cap(self, now_ns: int) -> None:
        """An operator reports that the spend cap is gone."""
        if self._spend_cap.is_open(now_ns):
            self._spend_cap.close()
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))

    def concurrency_limit(self, now_ns: int) -> int | None:
        """The number of requests that may be unanswered at a time; None: any number."""
        limit = self._concurrency.limit(now_ns)
        return None if limit is None else int(limit)

    def open_circuits(self, now_ns: int) -> Iterator[tuple[Cause, int]]:
        """Each open circuit's cause, and after how many nanoseconds a call may succeed again."""
        if self._spend_cap.is_open(now_ns):
            yield Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns)
        if self._breaker.is_open:
            yield Cause.UPSTREAM_OUTAGE, self._breaker.wait_ns(now_ns)
