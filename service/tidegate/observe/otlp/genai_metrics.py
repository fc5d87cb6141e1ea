"""The metrics of OpenTelemetry's conventions for generative AI. Only OTLP exports them.

They count what a program that calls Claude would: one operation per call of a client, whatever the number of attempts.
Source: semantic conventions for generative AI v0.1.0 (2026; status Development), and its page on Anthropic.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry

from tidegate.core.domain.events import Event, RequestFinished
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.span_attributes import (
    ERROR_TYPE,
    MODEL,
    OPERATION,
    OPERATION_DURATION,
    PROVIDER,
    SERVER_ADDRESS,
    SERVER_PORT,
    TOKEN_TYPE,
    TOKEN_USAGE,
)
from tidegate.observe.metrics.catalogue import Metric, MetricType
from tidegate.observe.metrics.instruments import Instruments

__all__ = ["GenAiMetrics"]

_COMMON: Final = (OPERATION, PROVIDER, MODEL, SERVER_ADDRESS, SERVER_PORT)
_TOKENS: Final = Metric(
    TOKEN_USAGE,
    MetricType.HISTOGRAM,
    (*_COMMON, TOKEN_TYPE),
    "Tokens of a call; input includes what the cache held.",
    buckets=tuple(4.0**number for number in range(14)),
)
_DURATION: Final = Metric(
    OPERATION_DURATION,
    MetricType.HISTOGRAM,
    (*_COMMON, ERROR_TYPE),
    "Duration of a call that was sent, with all its attempts, without its wait for quota.",
    # The convention ends at 81.92 s. Long responses take minutes.
    buckets=(*(0.01 * 2**number for number in range(14)), 163.84, 327.68, 655.36),
)
_ROUTES: Final = frozenset({"/v1/messages", "/api/workflows/generate"})
"""The routes that ask a model a question and wait for its response."""


_FIRST_ERROR_STATUS: Final = 400


class GenAiMetrics:
    """Counts the calls that were sent to a model.

    Args:
        host: the upstream's host.
        port: its port.
        model_label: the bounded name of a model.

    Attributes:
        registry: has these metrics alone.
    """

    def __init__(self, host: str, port: int, model_label: Callable[[str], str]) -> None:
        self.registry = CollectorRegistry()
        self._upstream = host, str(port)
        self._model_label = model_label
        instruments = Instruments(self.registry)
        self._lock = instruments.lock
        self._tokens = instruments.histogram(_TOKENS)
        self._duration = instruments.histogram(_DURATION)

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for `Observers`."""
        return [(RequestFinished, self._finished)]

    def _finished(self, event: RequestFinished) -> None:
        if event.route not in _ROUTES or not event.attempts:
            return
        common = "chat", "anthropic", self._model_label(event.model), *self._upstream
        with self._lock:
            seconds = to_seconds(max(0, event.duration_ns - event.queue_wait_ns))
            self._duration[*common, _error_type(event)].observe(seconds, event.exemplar)
            if (usage := event.usage) is not None:
                read = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
                self._tokens[*common, "input"].observe(read, event.exemplar)
                self._tokens[*common, "output"].observe(usage.output_tokens, event.exemplar)


def _error_type(event: RequestFinished) -> str:
    """The value of `error.type`, from the same closed set as in spans; empty for a success."""
    if event.outcome == "ok":
        return ""
    if event.cause is not None:
        return event.cause.value
    if event.outcome in {"abandoned", "deadline"}:
        return event.outcome
    if event.status >= _FIRST_ERROR_STATUS:
        return str(event.status)
    return "broken" if event.status else "_OTHER"  # after its status was sent, a response can only break off
