"""Adds up usage in memory, from the events of calls."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from tidegate.core.claude.rate_limit_groups import (
    DEFAULT_POOL,
    ENDPOINT_POOLS,
    OTHER_ENDPOINTS,
    endpoint_pool,
    is_endpoint_pool,
    undated,
)
from tidegate.core.domain.budget import NOTHING_SPENT, Spender, Spending
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.events import AttemptFinished, BatchResultsRead, Event, LeaseEnded, RequestFinished
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.clock import Clock
from tidegate.core.pricing.price_list import PriceList, rounded_micro_usd
from tidegate.ledger.tables import HOUR_SECONDS
from tidegate.ledger.usage.sums import (
    SLOT_SECONDS,
    WAIT_BOUNDS_SECONDS,
    Pending,
    SessionKey,
    SessionSums,
    SpendingKey,
    SpendingSums,
    Sums,
    UsageKey,
)

__all__ = ["UsageRecorder"]

_NOTED_AT_ONCE: Final = 128
"""Events and times that are added up together. Each costs about half of what it would cost between the steps of calls:
the processor still has the code and the sums of the event before."""
_MAX_KEYS: Final = 20_000
"""Distinct sums that wait at most, about 20 MB. A team has some hundred in an hour."""
_MAX_SESSIONS: Final = 5_000
"""Sessions that wait at most. Clients choose their names."""
_MAX_MODELS: Final = 500
_OTHER: Final = "other"
_CALLS: Final = ("/v1/", "/api/workflows/")
"""Routes whose calls are counted."""
_BATCH_POOL: Final = endpoint_pool("POST", "/v1/messages/batches")
"""Usage of batches counts in this pool: it does not use the limits of the Messages pools."""
_PRIORITIES: Final = tuple(priority.value for priority in Priority)
"""By `Caller.rank`."""
_FAILED: Final = frozenset({"rate_limited", "upstream_error", "deadline"})


class UsageRecorder:
    """Adds up usage by hour, team, caller, model, pool and priority, and by session. Thread-safe; never waits for I/O.

    Names that only a client has chosen do not become keys: a model that has neither a price nor an answer counts as
    `other`, with its pool.

    Args:
        clock: says which hour it is.
        prices: the price list.
        max_keys: distinct sums that may wait. Beyond them, events of a further key are not recorded, but counted.

    Attributes:
        lost: events that were not recorded.
        keeps_sessions: whether the spending of each session is kept.
        ahead_seconds: how much the clock by which spending is kept is ahead of that of this machine.
    """

    def __init__(self, clock: Clock, prices: PriceList, max_keys: int = _MAX_KEYS) -> None:
        self._clock = clock
        self._prices = prices
        self._max_keys = max_keys
        self._noted: deque[Event | float] = deque()  # events, and after those of a call when it ended
        self._noted_since_ns = 0  # of the first call in it; 0: there is none
        self._lock = threading.Lock()  # of all sums
        self._sums: dict[UsageKey, Sums] = {}
        self._sessions: dict[SessionKey, SessionSums] = {}
        self._spending: dict[SpendingKey, SpendingSums] = {}
        self._since_ns = 0
        self._taken: Pending | None = None
        self._latest: Sums | None = None  # what `_at` has found last
        self._latest_of: tuple[int, str, str, Caller] | None = None  # its hour, pool, model and caller
        self._answered: set[str] = set()
        self._priced = frozenset(prices.models)
        self.lost = 0
        self.keeps_sessions = False
        self.ahead_seconds = 0.0

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers."""
        note = self._noted.append  # without a function of our own: each call passes here twice
        return (
            (RequestFinished, self._note_call),
            (AttemptFinished, note),
            (BatchResultsRead, note),
            (LeaseEnded, note),
        )

    def take(self) -> Pending | None:
        """Removes and returns all sums; None if there are none. They count as unwritten until `written`."""
        with self._lock:
            self._add_up()
            if not self._sums and not self._spending:
                return None
            pending = self._taken = Pending(self._sums, self._sessions, self._since_ns, self._spending)
            self._sums, self._sessions, self._spending = {}, {}, {}
            self._latest = None
        return pending

    def written(self) -> None:
        """Notes that the sums that were taken last are written."""
        with self._lock:
            self._taken = None

    def since_ns(self) -> int | None:
        """The monotonic time of the first event that is not written; None if there is none."""
        with self._lock:
            self._add_up()
            if self._taken is not None:
                return self._taken.since_ns
            return self._since_ns if self._sums or self._spending else None

    def spend(self, spender: Spender, spending: Spending) -> None:
        """Records what was spent now."""
        caller, team, session = spender
        with self._lock:
            self._add_up()
            self._spend(self._clock.wall_seconds(), caller, team, session, spending)

    def _note_call(self, event: RequestFinished) -> None:
        """Notes the end of a call, and when it was. Its other events have been noted by then."""
        noted = self._noted
        noted.append(event)
        noted.append(self._clock.wall_seconds())
        if not self._noted_since_ns:
            self._noted_since_ns = self._clock.monotonic_ns()
        if len(noted) >= _NOTED_AT_ONCE:
            with self._lock:
                self._add_up()

    # Add up: under the lock.

    def _add_up(self) -> None:
        """Adds up what was noted, at the time that was noted next, or now. Others may note something meanwhile."""
        noted, untimed = self._noted, list[Event]()
        while noted:
            each = noted.popleft()
            if isinstance(each, float):
                self._add(each, untimed)
                untimed.clear()
            else:
                untimed.append(each)
        if untimed:
            self._add(self._clock.wall_seconds(), untimed)
        self._noted_since_ns = 0

    def _add(self, now: float, events: Iterable[Event]) -> None:
        for event in events:
            if type(event) is RequestFinished:
                self._add_call(now, event)
            elif type(event) is AttemptFinished:
                if event.usage is not None:
                    self._add_usage(
                        now, event.pool, event.model, event.caller, event.usage, event.cost_pico_usd, event.session
                    )
            elif type(event) is LeaseEnded:
                caller = event.caller
                if event.spending != NOTHING_SPENT:
                    self._spend(now, caller.label, caller.team, event.session, event.spending)
            elif type(event) is BatchResultsRead:
                for model, usage in event.used:
                    cost_pico_usd = self._prices.cost_pico_usd(model, usage, now)
                    self._add_usage(now, _BATCH_POOL, model, event.caller, usage, cost_pico_usd)

    def _spend(self, now: float, caller: str, team: str, session: str, spending: Spending) -> None:
        micro_usd, tokens = spending
        slot = int(now + self.ahead_seconds) // SLOT_SECONDS * SLOT_SECONDS
        key = (slot, team, caller, session if self.keeps_sessions else "")
        before = self._spending.get(key)
        if before is not None:
            self._spending[key] = (before[0] + micro_usd, before[1] + tokens)
        elif len(self._spending) < self._max_keys:
            self._note_first()
            self._spending[key] = (micro_usd, tokens)
        else:
            self.lost += 1

    def _note_first(self) -> None:
        if not self._sums and not self._spending:
            self._since_ns = self._noted_since_ns or self._clock.monotonic_ns()

    def _add_usage(
        self,
        now: float,
        pool: str,
        model: str,
        caller: Caller,
        usage: Usage,
        cost_pico_usd: int | None,
        session: str = "",
    ) -> None:
        if model not in self._answered and len(self._answered) < _MAX_MODELS:
            self._answered.add(model)
            self._latest = None  # the model may have counted as `other`
        sums = self._at(now, pool, model, caller)
        if sums is None:
            return
        input_tokens, output_tokens, read_tokens, created_tokens, _, _, _ = usage
        sums.input_tokens += input_tokens
        sums.output_tokens += output_tokens
        sums.cache_read_tokens += read_tokens
        sums.cache_creation_tokens += created_tokens
        cost = None if cost_pico_usd is None else rounded_micro_usd(cost_pico_usd)
        if cost is None:
            sums.unpriced_tokens += input_tokens + output_tokens + read_tokens + created_tokens
        else:
            sums.cost_micro_usd += cost
        if session:
            self._add_to_session(session, caller, usage, cost or 0, int(now))

    def _add_to_session(self, session: str, caller: Caller, usage: Usage, cost_micro_usd: int, now: int) -> None:
        key = (caller.label, session)
        sums = self._sessions.get(key)
        if sums is None:
            if len(self._sessions) >= _MAX_SESSIONS:
                return
            sums = self._sessions[key] = SessionSums(caller.team, now, now)
        sums.last_at = now
        sums.answers += 1
        sums.input_tokens += usage.input_tokens
        sums.output_tokens += usage.output_tokens
        sums.cache_read_tokens += usage.cache_read_tokens
        sums.cache_creation_tokens += usage.cache_creation_tokens
        sums.cost_micro_usd += cost_micro_usd

    def _add_call(self, now: float, event: RequestFinished) -> None:
        if not event.route.startswith(_CALLS):
            return
        sums = self._at(now, event.pool, event.model, event.caller)
        if sums is None:
            return
        sums.calls += 1
        if event.cause is not None:
            sums.refused += 1
            sums.refusals[event.cause] = sums.refusals.get(event.cause, 0) + 1
        elif event.outcome in _FAILED:
            sums.failed += 1
        if event.pool:
            sums.waits[bisect_left(WAIT_BOUNDS_SECONDS, event.queue_wait_ns / NS_PER_SECOND)] += 1

    def _at(self, now: float, pool: str, model: str, caller: Caller) -> Sums | None:
        """The sums of a key; None if there is no room for another key."""
        hour = int(now) // HOUR_SECONDS * HOUR_SECONDS
        of = (hour, pool, model, caller)
        if of == self._latest_of and self._latest is not None:
            return self._latest
        if model and model not in self._answered and undated(model) not in self._priced:
            model = pool = _OTHER
        elif not model and pool != DEFAULT_POOL and pool not in ENDPOINT_POOLS:
            pool = OTHER_ENDPOINTS if is_endpoint_pool(pool) else pool and _OTHER
        key = (hour, caller.team, caller.label, model, pool, _PRIORITIES[caller.rank])
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= self._max_keys:
                self.lost += 1
                return None
            self._note_first()
            sums = self._sums[key] = Sums()
        self._latest, self._latest_of = sums, of
        return sums
