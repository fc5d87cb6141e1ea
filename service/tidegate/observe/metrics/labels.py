"""Label values come from closed sets, so that no client can fill the memory of Prometheus with invented names."""

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
    "SERVED_ROUTES",
    "TOKEN_KINDS",
    "WORKFLOW_OUTCOMES",
    "LabelSet",
    "Rows",
]

Row = TypeVar("Row")

OTHER: Final = "other"
"""Stands for every value outside of the closed set."""
NONE: Final = "none"
"""Stands for an empty value: a call that was refused before its pool was known, an endpoint without a model."""

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
)
"""Routes as `RequestFinished.route` names them: one name for all that is below it."""

SERVED_ROUTES: Final = "/v1/.+|/api/workflows/generate"
"""What callers come for, as a pattern; status and configuration say nothing about it."""

REQUEST_OUTCOMES: Final = ("ok", "refused", "rate_limited", "upstream_error", "client_error", "abandoned")
"""Values of `RequestFinished.outcome`."""

ATTEMPT_STATUSES: Final = (
    *("200", "201", "202", "204", "400", "401", "402", "403", "404", "405", "408", "409", "410", "413", "415", "422"),
    *("429", "500", "501", "502", "503", "504", "529", "error", "deadline", "abandoned"),
)
"""Values of `AttemptFinished.status` with a label of their own: what the Claude API, and proxies before it, answer."""

RATE_LIMITED_BY: Final = (*DIMENSIONS, "acceleration", "unknown")
"""Values of `UpstreamRateLimited.dimension`."""

RETRY_REASONS: Final = ("rate_limited", "overloaded", "server_error", "timeout", "connection")
"""Values of `RetryScheduled.reason`: what `core.retry.retry_reason` tells apart."""

TOKEN_KINDS: Final = ("input", "output", "cache_read", "cache_creation")
"""Kinds of tokens, in the order of the fields of `Usage`."""

WORKFLOW_OUTCOMES: Final = ("ok", "repaired", "invalid", "refused", "truncated", "failed")
"""Values of `WorkflowFinished.outcome`."""

FALLBACK_REASONS: Final = ("invalid", "refused", "truncated", "overloaded", "too_long", "deadline")
"""Values of `FallbackUsed.reason`."""

HEAD_STATUSES: Final = ("400", "408", "431")
"""Values of `HeadRefused.status`."""


class LabelSet:
    """The values that one label may take: those known from the start, and up to `room` more that were earned.

    A value is earned by `admit`, which callers call only for what the upstream has confirmed to exist. Where `stand_in`
    names one of those known from the start for a value, the value counts as that, and earns no label.
    """

    def __init__(
        self, known: Iterable[str], room: int = 0, *, stand_in: Callable[[str], str | None] = lambda _value: None
    ) -> None:
        self._names = {OTHER, NONE, *known}
        self._stand_in = stand_in
        self._most = len(self._names) + room
        self._lock = threading.Lock()

    def label(self, value: str) -> str:
        """The value itself if it is in the set, `none` if it is empty, `other` if it is anything else."""
        if value in self._names:
            return value
        return (self._stand_in(value) or OTHER) if value else NONE

    def owns(self, value: str) -> bool:
        """Whether a label of its own stands for the value."""
        return value in self._names and value not in (OTHER, NONE)

    def admit(self, value: str) -> bool:
        """Adds a value, while there is room; True if it was added by this call."""
        if value in self._names or not value or self._stand_in(value) is not None:
            return False
        with self._lock:
            if value in self._names or len(self._names) >= self._most:
                return False
            self._names.add(value)
            return True


class Rows(dict[tuple[str, ...], Row], Generic[Row]):
    """What is kept for each row of labels, by the values that they stand for: `rows[pool, model]`.

    `make` is given the labels of a row that is looked up for the first time. Rows of values that stand for themselves
    are kept, and only those: they are as many as there are labels.
    """

    def __init__(self, make: Callable[..., Row], *sets: LabelSet) -> None:
        super().__init__()
        self._make = make
        self._sets = sets

    def __missing__(self, values: tuple[str, ...]) -> Row:
        labels = tuple(one.label(value) for one, value in zip(self._sets, values, strict=True))
        if labels != values:
            return self[labels]
        row = self[values] = self._make(*labels)
        return row
