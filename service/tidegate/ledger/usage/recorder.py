"""Adds up usage in memory, from the events of calls."""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from tidegate.core.claude.rate_limit_groups import (
    DEFAULT_POOL,
    ENDPOINT_POOLS,
    OTHER_ENDPOINTS,
    endpoint_pool,
    is_endpoint_pool,
    undated,
)
from tidegate.core.domain.budget import Spender, Spending
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import AttemptFinished, BatchResultsRead, Event, LeaseEnded, RequestFinished
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.clock import Clock
from tidegate.core.pricing.price_list import PriceList, sum_micro_usd
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

_CALLS_AT_ONCE: Final = 128
"""Calls whose events are added up together, if they are not taken before. Most of them have the same few keys."""
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

_WHO: Final = ("caller.team", "caller.label", "caller.rank")
_ANSWER_KEY: Final = attrgetter("pool", "model", "session", *_WHO)
_CALL_KEY: Final = attrgetter("pool", "model", "route", "cause", "outcome", *_WHO)
_SPENDING_KEY: Final = attrgetter("caller.team", "caller.label", "session")
_Who = Sequence[Any]
"""Team, label and rank of a caller."""
_Key = tuple[Any, ...]
_E = TypeVar("_E")


class UsageRecorder:
    """Adds up usage by hour, team, caller, model, pool and priority, and by session. Thread-safe; never waits for I/O.

    Names that only a client has chosen do not become keys: a model that has neither a price nor an answer counts as
    `other`, with its pool.

    A call counts in the hour and the quarter of an hour in which it ended. Its tokens may count in the one before, if
    they were noted before the first call that ended in the new one.

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
        self._calls: list[RequestFinished] = []  # that are not added up yet, as the next two
        self._attempts: list[AttemptFinished] = []
        self._leases: list[LeaseEnded] = []
        self._noted_at: tuple[float, int] | None = None  # the wall and monotonic time of the first of these calls
        self._turns_at = 0.0  # when the quarter of an hour of that ends
        self._lock = threading.Lock()  # of all sums
        self._sums: dict[UsageKey, Sums] = {}
        self._sessions: dict[SessionKey, SessionSums] = {}
        self._spending: dict[SpendingKey, SpendingSums] = {}
        self._since_ns = 0
        self._taken: Pending | None = None
        self._answered: set[str] = set()
        self._priced = frozenset(prices.models)
        self.lost = 0
        self.keeps_sessions = False
        self.ahead_seconds = 0.0

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers. Only one of those that each call has is a function of our own."""
        return (
            (RequestFinished, self._note_call),
            (AttemptFinished, self._attempts.append),
            (LeaseEnded, self._leases.append),
            (BatchResultsRead, self._note_batch),
        )

    def take(self) -> Pending | None:
        """Removes and returns all sums; None if there are none. They count as unwritten until `written`."""
        with self._lock:
            self._add_up()
            if not self._sums and not self._spending:
                return None
            pending = self._taken = Pending(self._sums, self._sessions, self._since_ns, self._spending)
            self._sums, self._sessions, self._spending = {}, {}, {}
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
            self._spend(self._clock.wall_seconds(), team, caller, session, [spending])

    def _note_call(self, event: RequestFinished) -> None:
        """Notes the end of a call. Its other events have been noted by then."""
        now = self._clock.wall_seconds()
        if now >= self._turns_at or len(self._calls) >= _CALLS_AT_ONCE:
            with self._lock:
                self._add_up()
                self._noted_at = now, self._clock.monotonic_ns()
                self._turns_at = now - now % SLOT_SECONDS + SLOT_SECONDS
        self._calls.append(event)

    def _note_batch(self, event: BatchResultsRead) -> None:
        now, caller = self._clock.wall_seconds(), event.caller
        who = (caller.team, caller.label, caller.rank)
        used = defaultdict[str, list[Usage]](list)
        for model, usage in event.used:
            used[model].append(usage)
        with self._lock:
            self._add_up()
            for model, usages in used.items():
                costs = [self._prices.cost_pico_usd(model, usage, now) for usage in usages]
                self._add_answers(now, _BATCH_POOL, model, who, "", usages, costs)

    # Add up: under the lock.

    def _add_up(self) -> None:
        """Adds up what was noted until now. Others may note something meanwhile."""
        now = self._clock.wall_seconds() if self._noted_at is None else self._noted_at[0]
        for (pool, model, session, *who), attempts in _grouped(self._attempts, _ANSWER_KEY):
            usages = [each.usage for each in attempts if each.usage is not None]
            if usages:
                costs = [each.cost_pico_usd for each in attempts if each.usage is not None]
                self._add_answers(now, pool, model, who, session, usages, costs)
        for (pool, model, route, cause, outcome, *who), calls in _grouped(self._calls, _CALL_KEY):
            if route.startswith(_CALLS):
                waits_ns = [each.queue_wait_ns for each in calls]
                self._add_calls(now, pool, model, who, cause, outcome, waits_ns)
        for (team, caller, session), leases in _grouped(self._leases, _SPENDING_KEY):
            self._spend(now, team, caller, session, [each.spending for each in leases])
        self._noted_at, self._turns_at = None, 0.0  # the next call notes its time

    def _add_answers(
        self,
        now: float,
        pool: str,
        model: str,
        who: _Who,
        session: str,
        usages: Sequence[Usage],
        costs_pico_usd: Sequence[int | None],
    ) -> None:
        if len(self._answered) < _MAX_MODELS:
            self._answered.add(model)
        sums = self._at(now, pool, model, who, len(usages))
        if sums is None:
            return
        input_tokens, output_tokens, read_tokens, created_tokens, *_ = map(sum, zip(*usages, strict=True))
        cost_micro_usd = sum_micro_usd([cost for cost in costs_pico_usd if cost is not None])
        if None in costs_pico_usd:
            unpriced = (usage for usage, cost in zip(usages, costs_pico_usd, strict=True) if cost is None)
            sums.unpriced_tokens += sum(sum(usage[:4]) for usage in unpriced)
        both: list[Sums | SessionSums | None] = [sums]
        if session:
            both.append(self._session(int(now), who, session, len(usages)))
        for each in both:
            if each is not None:
                each.input_tokens += input_tokens
                each.output_tokens += output_tokens
                each.cache_read_tokens += read_tokens
                each.cache_creation_tokens += created_tokens
                each.cost_micro_usd += cost_micro_usd

    def _session(self, now: int, who: _Who, session: str, answers: int) -> SessionSums | None:
        """The sums of a session that got answers; None if there is no room for another one."""
        team, caller, _ = who
        sums = self._sessions.get((caller, session))
        if sums is None:
            if len(self._sessions) >= _MAX_SESSIONS:
                return None
            sums = self._sessions[caller, session] = SessionSums(team, now, now)
        sums.last_at = now
        sums.answers += answers
        return sums

    def _add_calls(
        self,
        now: float,
        pool: str,
        model: str,
        who: _Who,
        cause: Cause | None,
        outcome: str,
        waits_ns: Sequence[int],
    ) -> None:
        sums = self._at(now, pool, model, who, len(waits_ns))
        if sums is None:
            return
        sums.calls += len(waits_ns)
        if cause is not None:
            sums.refused += len(waits_ns)
            sums.refusals[cause] = sums.refusals.get(cause, 0) + len(waits_ns)
        elif outcome in _FAILED:
            sums.failed += len(waits_ns)
        if pool:
            for wait_ns, calls in Counter(waits_ns).items():  # most have not waited at all
                sums.waits[bisect_left(WAIT_BOUNDS_SECONDS, wait_ns / NS_PER_SECOND)] += calls

    def _spend(self, now: float, team: str, caller: str, session: str, spendings: Sequence[Spending]) -> None:
        micro_usd, tokens = map(sum, zip(*spendings, strict=True))
        if not micro_usd and not tokens:
            return
        slot = int(now + self.ahead_seconds) // SLOT_SECONDS * SLOT_SECONDS
        key = (slot, team, caller, session if self.keeps_sessions else "")
        before = self._spending.get(key)
        if before is not None:
            self._spending[key] = (before[0] + micro_usd, before[1] + tokens)
        elif len(self._spending) < self._max_keys:
            self._note_first()
            self._spending[key] = (micro_usd, tokens)
        else:
            self.lost += len(spendings)

    def _note_first(self) -> None:
        if not self._sums and not self._spending:
            self._since_ns = self._clock.monotonic_ns() if self._noted_at is None else self._noted_at[1]

    def _at(self, now: float, pool: str, model: str, who: _Who, events: int) -> Sums | None:
        """The sums of a key; None if there is no room for another key: then the events are lost."""
        if model and model not in self._answered and undated(model) not in self._priced:
            model = pool = _OTHER
        elif not model and pool != DEFAULT_POOL and pool not in ENDPOINT_POOLS:
            pool = OTHER_ENDPOINTS if is_endpoint_pool(pool) else pool and _OTHER
        team, caller, rank = who
        key = (int(now) // HOUR_SECONDS * HOUR_SECONDS, team, caller, model, pool, _PRIORITIES[rank])
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= self._max_keys:
                self.lost += events
                return None
            self._note_first()
            sums = self._sums[key] = Sums()
        return sums


def _grouped(noted: list[_E], key: Callable[[_E], _Key]) -> Iterable[tuple[_Key, list[_E]]]:
    """Removes what was noted until now, and groups it. Others may append something meanwhile."""
    count = len(noted)
    taken = noted[:count]
    del noted[:count]
    groups = defaultdict[_Key, list[_E]](list)
    for each, its_key in zip(taken, map(key, taken), strict=True):
        groups[its_key].append(each)
    return groups.items()
