"""The protocol of the ledger that keeps usage: what the gateway, the metrics and the routes need of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tidegate.core.domain.events import Event

__all__ = [
    "SessionUsage",
    "SinkStatus",
    "UsageGroup",
    "UsageOverview",
    "UsageQuery",
    "UsageReport",
    "UsageReports",
    "UsageSink",
]


class SinkStatus(NamedTuple):
    """The state of the ledger.

    Attributes:
        up: whether the last write, and the last reading of keys and pauses, succeeded.
        unwritten_seconds: age of the oldest usage that is not written yet; 0: there is none.
        failures: failed writes so far. Each is repeated until it succeeds.
        lost: events that were not recorded because too many distinct sums waited to be written.
    """

    up: bool
    unwritten_seconds: float
    failures: int
    lost: int


class UsageSink(Protocol):
    """Records usage. No method waits for the database. Thread-safe."""

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for observers."""
        ...

    def status(self) -> SinkStatus:
        """The state of the ledger."""
        ...

    def check(self) -> None:
        """Checks that usage can be recorded, if calls are refused otherwise.

        Raises:
            Refusal: LEDGER_UNAVAILABLE.
        """
        ...


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A question to the ledger.

    Attributes:
        since, until: seconds since 1970-01-01 UTC; whole hours that overlap with this span are counted, and whole days
            before 400 days ago.
        by: names of the grouping columns, at least one.
        caller, team, model: counts only these; None: all.
    """

    since: int
    until: int
    by: tuple[str, ...]
    caller: str | None = None
    team: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The sums of one group.

    Attributes:
        group: its value of each grouping column.
        calls, refused, failed: ended calls; of them refused by Tidegate, and failed by an error of the upstream.
        input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens: as in the `usage` of responses.
        cost_micro_usd: of all responses with a known price.
        unpriced_tokens: tokens of models without one.
        waits: calls that asked for quota, by their wait: the buckets of `WAIT_BOUNDS_SECONDS`, and longer.
        refusals: refused calls by cause.
    """

    group: dict[str, str | int]
    calls: int
    refused: int
    failed: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    cost_micro_usd: int
    unpriced_tokens: int
    waits: tuple[int, ...]
    refusals: dict[str, int]

    @property
    def cache_share(self) -> float:
        """The share of all input tokens that was read from the cache, 0 to 1."""
        all_input = self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens
        return self.cache_read_tokens / all_input if all_input else 0.0


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The answer to a query: its groups, the most expensive first, and all of them together."""

    groups: tuple[UsageGroup, ...]
    total: UsageGroup


@dataclass(frozen=True, slots=True)
class UsageOverview:
    """The sums of a page.

    Attributes:
        groups: by the groups of the query, the most expensive first, without refusals by cause.
        times: by the hour or the day, the earliest first, without refusals by cause.
        total: all together.
        step_seconds: length of each of `times`.
    """

    groups: tuple[UsageGroup, ...]
    times: tuple[UsageGroup, ...]
    total: UsageGroup
    step_seconds: int


@dataclass(frozen=True, slots=True)
class SessionUsage:
    """The usage of one session. `first_at` and `last_at` are in seconds since 1970-01-01 UTC."""

    team: str
    caller: str
    session: str
    first_at: int
    last_at: int
    answers: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    cost_micro_usd: int


class UsageReports(Protocol):
    """Answers questions about usage. Waits for the database: never call it in an event loop."""

    def report(self, query: UsageQuery) -> UsageReport:
        """The sums of each group.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ...

    def overview(self, query: UsageQuery) -> UsageOverview:
        """The sums of a page.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ...

    def sessions(self, query: UsageQuery, limit: int) -> Sequence[SessionUsage]:
        """The most expensive sessions that were active in the time of the query, with all their usage.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ...
