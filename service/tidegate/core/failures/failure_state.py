"""What failures leave of a pool: spend cap, outage, a limit to what is unanswered, a budget for retries.

None of it says anything about quota, and while the upstream is well none of it limits anything.
"""

from collections.abc import Iterator
from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Refused
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, Event
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.circuit_breaker import CircuitBreaker
from tidegate.core.failures.concurrency_limit import ConcurrencyLimit
from tidegate.core.failures.retry_budget import RetryBudget
from tidegate.core.failures.spend_cap_circuit import SpendCapCircuit

__all__ = ["FailureState"]

_LOOK_AGAIN_NS: Final = NS_PER_SECOND
"""Who waits for others to be answered is woken by that; this is only in case that nobody tells."""


class FailureState:
    """Decides together with the quota, and independently of it, who may go; `now_ns` is monotonic time.

    Attributes:
        budget: what may be repeated.
        turns: how often an outage has begun or ended.
        unanswered: requests under way that have no head of an answer yet.
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
        "turns",
        "unanswered",
    )

    def __init__(self, name: str, events: list[Event], now_ns: int) -> None:
        self.budget = RetryBudget()
        self.turns = 0
        self.unanswered = 0
        self._name = name
        self._events = events
        self._breaker = CircuitBreaker(now_ns)
        self._concurrency = ConcurrencyLimit(now_ns)
        self._spend_cap = SpendCapCircuit()
        self._restricts = False  # kept so that a healthy pool pays one look at it, as is the next
        self._is_in_doubt = False  # whether an answer may be news of an outage or a spend cap

    @property
    def is_out(self) -> bool:
        """Whether there is an outage."""
        return self._breaker.is_open

    @property
    def is_capped(self) -> bool:
        """Whether a spend cap was reached, and nothing but time may have ended that."""
        return self._spend_cap.opened_ns is not None

    @property
    def late(self) -> Cause:
        """Why somebody has to wait for too long."""
        return Cause.UPSTREAM_OUTAGE if self.is_out else Cause.DEADLINE

    def refusal(self, now_ns: int) -> Refused | None:
        """Why nobody is admitted, and waiting does not help: a spend cap, except for a probe now and then."""
        cap = self._spend_cap
        if cap.closes(now_ns):
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))
        if not cap.is_open(now_ns) or cap.lets_probe(now_ns):
            return None
        return Refused(Cause.SPEND_CAP, cap.retry_after_ns(now_ns))

    def admits(self, now_ns: int) -> bool:
        """Whether one more may go now, as far as failures are concerned."""
        if not self._restricts:
            return True
        if self._breaker.is_open:
            if self._breaker.wait_ns(now_ns):
                return False
            return self._breaker.is_next_alone(now_ns) or self._concurrency.fits_again(self.unanswered)
        self._restricts = self._concurrency.limit(now_ns) is not None
        return self._concurrency.fits(self.unanswered, now_ns)

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more may go, at the latest; an answer may let it go earlier."""
        if self.admits(now_ns):
            return 0
        return self._breaker.wait_ns(now_ns) or _LOOK_AGAIN_NS

    def binding(self) -> str:
        """What keeps the next from going: `outage` or `concurrency`."""
        return "outage" if self._breaker.is_open else "concurrency"

    def sent(self, now_ns: int) -> None:
        """A request goes."""
        self.unanswered += 1
        if self._restricts:
            self._breaker.sent(now_ns)

    def ended(self, granted_ns: int, *, answered: bool) -> None:
        """A request that was granted then ended, with or without the head of an answer before."""
        if not answered:
            self.unanswered -= 1
        if self._restricts:
            self._breaker.ended(granted_ns)

    def answered(self, sent_ns: int, now_ns: int) -> None:
        """The head of a good answer came, to a request that was sent then; it still counts as unanswered here."""
        self.budget.succeeded(now_ns)
        if self._is_in_doubt:
            self._note_recovery(sent_ns)
        self._concurrency.answered(self.unanswered, sent_ns)

    def _note_recovery(self, sent_ns: int) -> None:
        if self._breaker.answered(sent_ns):
            self.turns += 1
            self._concurrency.recovered()
            self._events.append(CircuitClosed(self._name, Cause.UPSTREAM_OUTAGE))
        if self._spend_cap.answered(sent_ns):
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))
        self._is_in_doubt = self._breaker.is_in_doubt or self.is_capped

    def failed(self, sent_ns: int, now_ns: int) -> None:
        """529, 5xx or no answer, to a request that was sent then and still counts as unanswered."""
        self._restricts = self._is_in_doubt = True
        self._concurrency.failed(self.unanswered, sent_ns, now_ns, outage=self._breaker.is_open)
        if self._breaker.failed(sent_ns, now_ns):
            self.turns += 1
            self._events.append(CircuitOpened(self._name, Cause.UPSTREAM_OUTAGE, None))

    def capped(self, ends_in_ns: int | None, now_ns: int) -> Refused:
        """A spend cap is reached. What to tell those who wait."""
        self._is_in_doubt = True
        if self._spend_cap.reached(ends_in_ns, now_ns):
            self._events.append(CircuitOpened(self._name, Cause.SPEND_CAP, ends_in_ns))
        return Refused(Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns))

    def forget_cap(self, now_ns: int) -> None:
        """An operator says that there is no spend cap any more."""
        if self._spend_cap.is_open(now_ns):
            self._spend_cap.close()
            self._events.append(CircuitClosed(self._name, Cause.SPEND_CAP))

    def concurrency_limit(self, now_ns: int) -> int | None:
        """How many may be unanswered at a time; None: any number."""
        limit = self._concurrency.limit(now_ns)
        return None if limit is None else int(limit)

    def open_circuits(self, now_ns: int) -> Iterator[tuple[Cause, int]]:
        """Why nothing but probes is sent, and after how many nanoseconds a call may succeed again."""
        if self._spend_cap.is_open(now_ns):
            yield Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns)
        if self._breaker.is_open:
            yield Cause.UPSTREAM_OUTAGE, self._breaker.wait_ns(now_ns)
