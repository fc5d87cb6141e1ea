"""The counters and histograms that an event of each kind counts in, found in one look: every call has a few."""

from msgspec import Struct

from tidegate.observe.metrics.instruments import Counter, Histogram
from tidegate.observe.metrics.sliding_count import SlidingCount

__all__ = ["AdmittedRow", "AttemptRow", "LeaseRow", "RequestRow", "UsageRow"]


class RequestRow(Struct):
    """Calls of one route, pool, caller and outcome."""

    requests: Counter
    route: str
    pool: str
    is_served: bool
    is_failure: bool
    duration: Histogram | None = None
    """None before one was measured."""
    overhead: Histogram | None = None
    """Likewise."""


class AttemptRow(Struct):
    """Attempts in one pool, with one model, that ended the same way."""

    attempts: Counter
    duration: Histogram
    pool: str
    model: str


class UsageRow(Struct):
    """What answers used in one pool, of one model, for one caller."""

    model: str
    caller: str
    input: Counter
    output: Counter
    cache_read: Counter
    cache_creation: Counter
    cost_usd: Counter | None = None
    """None before anything had a price."""


class LeaseRow(Struct):
    """What the leases of one pool were charged, and how well it had been estimated."""

    pool: str
    requests: Counter
    input_tokens: Counter
    output_tokens: Counter
    input_error: Histogram | None = None
    """Of estimates; None before anything was estimated."""
    output_error: Histogram | None = None


class AdmittedRow(Struct):
    """Admissions to one pool of one class."""

    wait: Histogram
    admissions: SlidingCount
