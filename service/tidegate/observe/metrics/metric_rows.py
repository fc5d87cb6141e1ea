"""The counters and histograms that one event updates, cached together so that an event needs one lookup."""

from msgspec import Struct

from tidegate.observe.metrics.instruments import Counter, Histogram
from tidegate.observe.recent.sliding_count import SlidingCount

__all__ = ["AdmittedRow", "AttemptRow", "LeaseRow", "RequestRow", "UsageRow"]


class RequestRow(Struct):
    """Calls of one route, pool, caller and outcome."""

    requests: Counter
    route: str
    pool: str
    is_served: bool
    is_failure: bool
    duration: Histogram | None = None
    """None until the first measurement, so that no empty series is exported. The same holds for all fields below."""
    overhead: Histogram | None = None


class AttemptRow(Struct):
    """Attempts of one pool, model and status."""

    attempts: Counter
    duration: Histogram
    pool: str
    model: str


class UsageRow(Struct):
    """Usage of one pool, model and caller."""

    model: str
    caller: str
    input: Counter
    output: Counter
    cache_read: Counter
    cache_creation: Counter
    cost_usd: Counter | None = None


class LeaseRow(Struct):
    """Charges and estimate errors of the leases of one pool."""

    pool: str
    requests: Counter
    input_tokens: Counter
    output_tokens: Counter
    input_error: Histogram | None = None
    output_error: Histogram | None = None


class AdmittedRow(Struct):
    """Admissions of one pool and class."""

    pool: str
    priority: str
    wait: Histogram
    admissions: SlidingCount
