"""The closed sets of label values. They bound the number of series, whatever names clients send."""

import re
import threading
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from tidegate.core.domain.dimension import DIMENSIONS

__all__ = [
    "ATTEMPT_STATUSES",
    "FALLBACK_REASONS",
    "HEAD_STATUSES",
    "NONE",
    "OTHER",
    "RATE_LIMITED_BY",
    "REQUEST_OUTCOMES",
    "RETRY_REASONS",
    "ROUTES",
    "SERVED",
    "SERVED_ROUTES",
    "TOKEN_KINDS",
    "WORKFLOW_OUTCOMES",
    "LabelSet",
    "Rows",
    "status_group",
]

Row = TypeVar("Row")

OTHER: Final = "other"
"""Label of every value outside of the set."""
NONE: Final = "none"
"""Label of an empty value: a call refused before its pool was known, an endpoint without a model."""

ROUTES: Final = (
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1/models",
    "/v1/files",
    "/v1/other",
    "/api/workflows/generate",
    "/api/system/rate-limiting/status",
    "/api/system/rate-limiting/configure",
    "/api/system/ai-client/status",
    "/api/system/reload",
    "/api/system/queue",
    "/api/system/usage",
    "/api/system/keys",
)
"""Values of `RequestFinished.route`; a route includes all paths below it."""

SERVED_ROUTES: Final = "/v1/.+|/api/workflows/generate"
"""Pattern of the routes that count for objectives; status and configuration do not."""

SERVED: Final = tuple(route for route in ROUTES if re.fullmatch(SERVED_ROUTES, route))
"""The routes that count for objectives."""

REQUEST_OUTCOMES: Final = ("ok", "refused", "rate_limited", "upstream_error", "deadline", "client_error", "abandoned")
"""Values of `RequestFinished.outcome`."""

ATTEMPT_STATUSES: Final = (
    *("200", "201", "202", "204", "400", "401", "402", "403", "404", "405", "408", "409", "410", "413", "415", "422"),
    *("429", "4xx", "500", "501", "502", "503", "504", "529", "5xx", "error", "deadline", "abandoned"),
)
"""Values of `AttemptFinished.status`: the statuses of the Claude API, and `4xx` and `5xx` for all others.

Proxies in front of the API have statuses of their own, such as 520 to 527.
"""

RATE_LIMITED_BY: Final = (*DIMENSIONS, "acceleration", "unknown")
"""Values of `UpstreamRateLimited.dimension`."""

RETRY_REASONS: Final = ("rate_limited", "overloaded", "server_error", "timeout", "connection")
"""Values of `RetryScheduled.reason`, from `retry_reason` in `core/failures/retry_policy.py`."""

TOKEN_KINDS: Final = ("input", "output", "cache_read", "cache_creation")
"""Kinds of tokens, in the order of the fields of `Usage`."""

WORKFLOW_OUTCOMES: Final = ("ok", "repaired", "invalid", "refused", "truncated", "failed")
"""Values of `WorkflowFinished.outcome`."""

FALLBACK_REASONS: Final = ("invalid", "refused", "truncated", "overloaded", "too_long", "deadline")
"""Values of `FallbackUsed.reason`."""

HEAD_STATUSES: Final = ("400", "408", "431")
"""Values of `HeadRefused.status`."""


def status_group(status: str) -> str | None:
    """The label of statuses that have none of their own: `4xx` or `5xx`; None for other values."""
    return f"{status[0]}xx" if re.fullmatch("[45][0-9]{2}", status) else None


class LabelSet:
    """The values that one label may take: the known ones, and up to `max_added` more.

    Args:
        known: values in the set from the start.
        max_added: how many values `add` may add.
        group_of: maps a value to the known value that it counts as; None for values that are not grouped.
    """

    def __init__(
        self, known: Iterable[str], max_added: int = 0, *, group_of: Callable[[str], str | None] = lambda _value: None
    ) -> None:
        self._values = {OTHER, NONE, *known}
        self._group_of = group_of
        self._max_values = len(self._values) + max_added
        self._lock = threading.Lock()

    def label(self, value: str) -> str:
        """The label of a value: itself, its group, `none` for an empty value, or `other`."""
        if value in self._values:
            return value
        return (self._group_of(value) or OTHER) if value else NONE

    def has_own_label(self, value: str) -> bool:
        """Whether the value is its own label."""
        return value in self._values and value not in (OTHER, NONE)

    @property
    def own(self) -> list[str]:
        """The values that are their own labels, sorted."""
        return sorted(self._values - {OTHER, NONE})

    def know(self, values: Iterable[str]) -> None:
        """Adds configured values, beyond those that `add` may add."""
        with self._lock:
            new = set(values) - self._values
            self._values |= new
            self._max_values += len(new)

    def add(self, value: str) -> bool:
        """Adds a value that the upstream has confirmed to exist. Returns True if this call added it."""
        if value in self._values or not value or self._group_of(value) is not None:
            return False
        with self._lock:
            if value in self._values or len(self._values) >= self._max_values:
                return False
            self._values.add(value)
            return True


class Rows(dict[tuple[str, ...], Row], Generic[Row]):
    """Caches one row per combination of labels, looked up by values: `rows[pool, model]`.

    `make` creates the row of a new combination from its labels. Only values that are their own labels are kept as keys,
    so that the cache is bounded by the label sets.
    """

    def __init__(self, make: Callable[..., Row], *sets: LabelSet) -> None:
        super().__init__()
        self._make = make
        self._sets = sets

    def __missing__(self, values: tuple[str, ...]) -> Row:
        labels = tuple(each.label(value) for each, value in zip(self._sets, values, strict=True))
        if labels != values:
            return self[labels]
        row = self[values] = self._make(*labels)
        return row
