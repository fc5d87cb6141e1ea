"""Scopes become spans."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidegate import __version__
from tidegate.core.claude.header_names import TRACE_PARENT
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.span_attributes import (
    ERROR_TYPE,
    FINISH_REASON,
    METHOD,
    MODEL,
    OPERATION,
    PROVIDER,
    ROUTE,
    SERVER_ADDRESS,
    SERVER_PORT,
    STATUS,
)
from tidegate.core.ports.transport import Fields

if TYPE_CHECKING:
    from contextvars import Token

__all__ = ["Tracing", "current_exemplar", "exemplar_of", "note_on_span"]

_Value = str | float | tuple[str, ...]
_KINDS: Final = {
    ScopeKind.REQUEST: SpanKind.SERVER,
    ScopeKind.CHAT: SpanKind.CLIENT,
    ScopeKind.GENERATE: SpanKind.INTERNAL,
    ScopeKind.ACQUIRE: SpanKind.INTERNAL,
    ScopeKind.ATTEMPT: SpanKind.CLIENT,
    ScopeKind.RETRY_WAIT: SpanKind.INTERNAL,
}
_ROOTS: Final = frozenset({ScopeKind.REQUEST, ScopeKind.GENERATE})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""Methods that the conventions know; any other is `_OTHER`, and `HTTP` in the span's name."""
_LONGEST_TEXT: Final = 256
"""Models and paths are whatever a client sends."""
_W3C: Final = TraceContextTextMapPropagator()
_CONTEXT_FIELDS: Final = frozenset(_W3C.fields)
_NO_PARENT: Final = Context()
_TRACE_PARENT: Final = TRACE_PARENT.encode()
_NOTHING: Final[Mapping[str, str | float]] = {}


class Tracing:
    """Opens spans for scopes.

    Args:
        provider: where spans go.
        clock: the time that they are measured with.
        upstream_host: what is called; for `server.address`.
        upstream_port: likewise.
        send_upstream: whether attempts carry their trace context.
        samples_next: whether a trace is sampled that begins now; None: that is seen when it has begun.

    Attributes:
        recording: how many spans of its scopes are being recorded.
    """

    def __init__(
        self,
        provider: TracerProvider,
        clock: Clock,
        *,
        upstream_host: str,
        upstream_port: int,
        send_upstream: bool,
        samples_next: Callable[[], bool] | None = None,
    ) -> None:
        self.provider = provider
        self.send_upstream = send_upstream
        self.recording = 0
        self._tracer = provider.get_tracer("tidegate", __version__)
        self._clock = clock
        # Where the upstream is to know of a trace, it has to know that it is not sampled, too.
        self._samples_next = None if send_upstream else samples_next
        upstream: dict[str, str | int] = {SERVER_ADDRESS: upstream_host, SERVER_PORT: upstream_port}
        self._fixed: dict[ScopeKind, dict[str, str | int]] = {
            ScopeKind.CHAT: {OPERATION: "chat", PROVIDER: "anthropic", **upstream},
            ScopeKind.ATTEMPT: upstream,
        }

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """A scope that is a span from its beginning to its end; what is part of a call that is not sampled is none."""
        if kind in _ROOTS or (self.send_upstream and kind is ScopeKind.ATTEMPT) or get_current_span().is_recording():
            return _SpanScope(self, kind, attributes)
        return NULL_SCOPE

    def traces_call(self, fields: Fields) -> bool:
        """As `Observer.traces_call`."""
        return self._samples_next is None or _TRACE_PARENT in fields or self._samples_next()

    def start(self, kind: ScopeKind, attributes: Mapping[str, str | float], parent: Context | None) -> Span:
        """Starts a span; its name and kind follow from the scope's."""
        return self._tracer.start_span(
            _name(kind, attributes), context=parent, kind=_KINDS[kind], start_time=self.now_ns()
        )

    def described(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> dict[str, _Value]:
        """What a span says from its beginning on. Most are not sampled: what nobody will see is not put together."""
        known = {name: _fit(name, value) for name, value in attributes.items() if name not in _CONTEXT_FIELDS}
        return {**self._fixed.get(kind, {}), **known}

    def exemplar(self) -> Mapping[str, str] | None:
        """The ids of the scope around the caller, if it is sampled: asked for at every event, and seldom there."""
        # Around what is not traced the context is empty: that is seen at once.
        return exemplar_of(get_current_span()) if self.recording and get_current() else None

    def now_ns(self) -> int:
        """The time of day."""
        return round(self._clock.wall_seconds() * NS_PER_SECOND)


class _SpanScope:
    __slots__ = ("_attributes", "_error_type", "_kind", "_noted", "_span", "_token", "_tracing")

    def __init__(self, tracing: Tracing, kind: ScopeKind, attributes: Mapping[str, str | float]) -> None:
        self._tracing = tracing
        self._kind = kind
        self._attributes = attributes
        self._span: Span = INVALID_SPAN
        self._token: Token[Context] | None = None
        self._noted: dict[str, _Value] | None = None  # the span's attributes, while it is recorded

    @property
    def traced(self) -> bool:
        return self._noted is not None or self._tracing.send_upstream

    def set(self, name: str, value: str | float) -> None:
        if self._noted is not None:
            self._noted[name] = _fit(name, value)

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        if self._tracing.send_upstream:
            _W3C.inject(carrier, set_span_in_context(self._span))
        return carrier

    def exemplar(self) -> Mapping[str, str] | None:
        return exemplar_of(self._span)

    def __enter__(self) -> Self:
        parent = None
        if self._kind is ScopeKind.REQUEST:
            given = self._attributes
            named = _CONTEXT_FIELDS & given.keys()
            parent = _W3C.extract({name: str(given[name]) for name in named}) if named else _NO_PARENT
        self._span = self._tracing.start(self._kind, self._attributes, parent)
        if self._span.is_recording():
            self._noted = self._tracing.described(self._kind, self._attributes)
            self._tracing.recording += 1
        self._attributes = _NOTHING  # a stream that goes on for minutes need not keep them
        self._token = attach(set_span_in_context(self._span, parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)
        if (noted := self._noted) is not None:
            self._noted = None
            self._tracing.recording -= 1
            failure = _failure(self._kind, noted, error)
            if failure:
                noted[ERROR_TYPE] = failure
                self._span.set_status(Status(StatusCode.ERROR, failure))
            self._span.set_attributes(noted)  # all at once: each time takes a lock
        self._span.end(self._tracing.now_ns())


def _failure(kind: ScopeKind, noted: Mapping[str, _Value], error: BaseException | None) -> str:
    """What kind of failure it was; empty if it was none. Never the text of an error: it may quote a prompt."""
    known = noted.get(ERROR_TYPE) or noted.get("tidegate.cause")
    if kind is ScopeKind.REQUEST:
        # A client's fault is no failure of a server, but an answer that broke off is.
        told = noted.get(STATUS)
        status = told if isinstance(told, int | float) else 0
        is_broken = noted.get("tidegate.outcome") == "upstream_error" and status < 400
        known = status if status >= 500 else "broken" if is_broken else None
    if known:
        return str(known)
    return "" if error is None else type(error).__name__


def exemplar_of(span: Span) -> Mapping[str, str] | None:
    """The ids of a span, as a metric's exemplar; None when it is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled or not context.is_valid:
        return None
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def note_on_span(name: str, value: str) -> None:
    """Notes an attribute on the span around the caller, if it is recorded; a value from a closed set."""
    get_current_span().set_attribute(name, value)


def current_exemplar() -> Mapping[str, str] | None:
    """The ids of the span around the caller, if it is sampled."""
    return exemplar_of(get_current_span())


def _name(kind: ScopeKind, attributes: Mapping[str, str | float]) -> str:
    if kind is ScopeKind.REQUEST:
        method = attributes.get(METHOD)
        return f"{method if method in _METHODS else 'HTTP'} {attributes.get(ROUTE)}"
    if kind is ScopeKind.CHAT:
        return f"chat {_fit(MODEL, attributes.get(MODEL, ''))}".rstrip()
    return f"tidegate.{kind}"


def _fit(name: str, value: str | float) -> _Value:
    """The value as it may leave: bounded, and in the form that the conventions ask for."""
    if isinstance(value, str):
        if name == METHOD and value not in _METHODS:
            return "_OTHER"
        value = value[:_LONGEST_TEXT]
        return (value,) if name == FINISH_REASON else value
    return value
