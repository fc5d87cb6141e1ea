"""The causes of Tidegate's own refusals: one table for headers, bodies, metric labels, alerts and runbooks."""

from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["CAUSES", "CIRCUIT_CAUSES", "Cause", "CauseRow"]


class Cause(StrEnum):
    """A cause of Tidegate's own refusal. An upstream error is none, except a 401 for the service's own key."""

    QUEUE_FULL = "queue_full"
    DEADLINE = "deadline"
    CALLER_LIMIT = "caller_limit"
    BUDGET = "budget"
    COST_EXCEEDS_CAPACITY = "cost_exceeds_capacity"
    SPEND_CAP = "spend_cap"
    PAUSED = "paused"
    UPSTREAM_CREDENTIALS = "upstream_credentials"
    UPSTREAM_OUTAGE = "upstream_outage"
    DRAINING = "draining"
    STORE_UNAVAILABLE = "store_unavailable"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    LOOP = "loop"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"


class CauseRow(NamedTuple):
    """The meaning of a cause to a client: HTTP status, Anthropic `error.type`, and whether a retry may succeed."""

    status: int
    error_type: str
    retryable: bool


CAUSES: Final[dict[Cause, CauseRow]] = {
    Cause.QUEUE_FULL: CauseRow(429, "rate_limit_error", retryable=True),
    Cause.DEADLINE: CauseRow(429, "rate_limit_error", retryable=True),
    Cause.CALLER_LIMIT: CauseRow(429, "rate_limit_error", retryable=True),
    Cause.BUDGET: CauseRow(429, "rate_limit_error", retryable=False),
    Cause.COST_EXCEEDS_CAPACITY: CauseRow(400, "invalid_request_error", retryable=False),
    Cause.SPEND_CAP: CauseRow(403, "permission_error", retryable=False),
    Cause.PAUSED: CauseRow(403, "permission_error", retryable=False),
    Cause.UPSTREAM_CREDENTIALS: CauseRow(502, "api_error", retryable=False),
    Cause.UPSTREAM_OUTAGE: CauseRow(529, "overloaded_error", retryable=True),
    Cause.DRAINING: CauseRow(503, "api_error", retryable=True),
    Cause.STORE_UNAVAILABLE: CauseRow(503, "api_error", retryable=True),
    Cause.LEDGER_UNAVAILABLE: CauseRow(503, "api_error", retryable=True),
    Cause.LOOP: CauseRow(508, "invalid_request_error", retryable=False),
    Cause.UNAUTHENTICATED: CauseRow(401, "authentication_error", retryable=False),
    Cause.FORBIDDEN: CauseRow(403, "permission_error", retryable=False),
}
"""All causes. `x-should-retry` says `retryable`; `Refusal.retry_after_seconds` says when."""

CIRCUIT_CAUSES: Final = (Cause.SPEND_CAP, Cause.UPSTREAM_OUTAGE)
"""Causes that open the circuit of a pool. It then sends only probes."""
