"""Records the scopes of `core/ports/observer.py` as OpenTelemetry spans."""

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
    RETRY_AFTER_FIELD,
    ROUTE,
    SCHEMA_URL,
    SERVER_ADDRESS,
    SERVER_PORT,
    STATUS,
    URL_FULL,
    URL_PATH,
    error_type_of,
)
from tidegate.core.ports.transport import Fields

if TYPE_CHECKING:
    from contextvars import Token

__all__ = ["Tracing", "current_exemplar", "exemplar_of", "set_span_attribute"]

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
"""Methods known to the semantic conventions; any other is `_OTHER`, and `HTTP` in the span's name."""
_LISTS: Final = frozenset({FINISH_REASON, RETRY_AFTER_FIELD})
"""Attributes whose values are lists."""
_MAX_TEXT: Final = 256
"""Clients choose models and paths, so their length is bounded here."""
_W3C: Final = TraceContextTextMapPropagator()
_CONTEXT_FIELDS: Final = frozenset(_W3C.fields)
_NO_PARENT: Final = Context()
_TRACE_PARENT: Final = TRACE_PARENT.encode()
_NO_ATTRIBUTES: Final[Mapping[str, str | float]] = {}


class Tracing:
    """Opens scopes that record spans.

    Args:
        provider: creates the spans.
        clock: source of start and end times.
        upstream_host: value of `server.address`.
        upstream_port: value of `server.port`.
        upstream_url: the upstream's base URL, without a slash at its end.
        send_upstream: whether attempts send their trace context to the upstream.
        samples_next: decides in advance whether a trace that starts now is sampled; None asks the sampler at the start
            of each trace.

    Attributes:
        recording: number of open spans that are recorded.
    """

    def __init__(
        self,
        provider: TracerProvider,
        clock: Clock,
        *,
        upstream_host: str,
        upstream_port: int,
        upstream_url: str,
        send_upstream: bool,
        samples_next: Callable[[], bool] | None = None,
    ) -> None:
        self.provider = provider
        self.send_upstream = send_upstream
        self.recording = 0
        self._tracer = provider.get_tracer("tidegate", __version__, schema_url=SCHEMA_URL)
        self._upstream_url = upstream_url
        self._clock = clock
        # The upstream must receive the context of unsampled traces as well, so none can be skipped.
        self._samples_next = None if send_upstream else samples_next
        upstream: dict[str, str | int] = {SERVER_ADDRESS: upstream_host, SERVER_PORT: upstream_port}
        self._fixed: dict[ScopeKind, dict[str, str | int]] = {
            ScopeKind.CHAT: {OPERATION: "chat", PROVIDER: "anthropic", **upstream},
            ScopeKind.ATTEMPT: upstream,
        }

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """Returns a scope that records a span. Inside a call that is not sampled it records nothing."""
        if kind in _ROOTS or (self.send_upstream and kind is ScopeKind.ATTEMPT) or get_current_span().is_recording():
            return _SpanScope(self, kind, attributes)
        return NULL_SCOPE

    def traces_call(self, fields: Fields) -> bool:
        """See `Observer.traces_call`."""
        return self._samples_next is None or _TRACE_PARENT in fields or self._samples_next()

    def start(self, kind: ScopeKind, attributes: Mapping[str, str | float], parent: Context | None) -> Span:
        """Starts the span of a scope."""
        return self._tracer.start_span(
            _name(kind, attributes), context=parent, kind=_KINDS[kind], start_time=self.now_ns()
        )

    def initial_attributes(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> dict[str, _Value]:
        """The attributes of a span at its start. Only needed for recorded spans, and most are not."""
        given = {
            name: _exported(name, value)
            for name, value in attributes.items()
            if name not in _CONTEXT_FIELDS and value != ""
        }
        if kind is ScopeKind.ATTEMPT and (path := given.pop(URL_PATH, None)) is not None:
            given[URL_FULL] = f"{self._upstream_url}{path}"  # a client span has no path of its own
        return {**self._fixed.get(kind, {}), **given}

    def exemplar(self) -> Mapping[str, str] | None:
        """The ids of the current span, if it is sampled."""
        # Every event asks, and few calls are sampled: an empty context is the quickest answer.
        return exemplar_of(get_current_span()) if self.recording and get_current() else None

    def now_ns(self) -> int:
        """Unix time."""
        return round(self._clock.wall_seconds() * NS_PER_SECOND)


class _SpanScope:
    __slots__ = ("_attributes", "_kind", "_recorded", "_span", "_token", "_tracing")

    def __init__(self, tracing: Tracing, kind: ScopeKind, attributes: Mapping[str, str | float]) -> None:
        self._tracing = tracing
        self._kind = kind
        self._attributes = attributes
        self._span: Span = INVALID_SPAN
        self._token: Token[Context] | None = None
        self._recorded: dict[str, _Value] | None = None  # attributes; None unless the span is recorded

    @property
    def traced(self) -> bool:
        return self._recorded is not None or self._tracing.send_upstream

    def set(self, name: str, value: str | float) -> None:
        if self._recorded is not None and value != "":
            self._recorded[name] = _exported(name, value)

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
            fields = _CONTEXT_FIELDS & given.keys()
            parent = _W3C.extract({name: str(given[name]) for name in fields}) if fields else _NO_PARENT
        self._span = self._tracing.start(self._kind, self._attributes, parent)
        if self._span.is_recording():
            self._recorded = self._tracing.initial_attributes(self._kind, self._attributes)
            self._tracing.recording += 1
        self._attributes = _NO_ATTRIBUTES  # frees memory: a stream may last for minutes
        self._token = attach(set_span_in_context(self._span, parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)
        if (recorded := self._recorded) is not None:
            self._recorded = None
            self._tracing.recording -= 1
            error_type = _error_type(self._kind, recorded, error)
            if error_type:
                recorded[ERROR_TYPE] = error_type
                self._span.set_status(Status(StatusCode.ERROR, error_type))
            self._span.set_attributes(recorded)  # one call, because each takes a lock
        self._span.end(self._tracing.now_ns())


def _error_type(kind: ScopeKind, recorded: Mapping[str, _Value], error: BaseException | None) -> str:
    """The value of `error.type`; empty for a success. Never an error's text, which may quote a prompt."""
    known = recorded.get(ERROR_TYPE) or recorded.get("tidegate.cause")
    if kind is ScopeKind.REQUEST:
        # By the semantic conventions a 4xx is no error of a server span. A response that broke off is one.
        value = recorded.get(STATUS)
        status = value if isinstance(value, int | float) else 0
        is_broken = recorded.get("tidegate.outcome") == "upstream_error" and status < 400
        known = status if status >= 500 else "broken" if is_broken else None
    if known:
        return str(known)
    return "" if error is None else error_type_of(error)


def exemplar_of(span: Span) -> Mapping[str, str] | None:
    """The ids of a span as an exemplar; None if it is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled or not context.is_valid:
        return None
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def set_span_attribute(name: str, value: str) -> None:
    """Sets an attribute of the current span. The value must come from a closed set."""
    get_current_span().set_attribute(name, value)


def current_exemplar() -> Mapping[str, str] | None:
    """The ids of the current span; None if it is not sampled."""
    return exemplar_of(get_current_span())


def _name(kind: ScopeKind, attributes: Mapping[str, str | float]) -> str:
    if kind is ScopeKind.REQUEST:
        method = attributes.get(METHOD)
        return f"{method if method in _METHODS else 'HTTP'} {attributes.get(ROUTE)}"
    if kind is ScopeKind.CHAT:
        return f"chat {_exported(MODEL, attributes.get(MODEL, ''))}".rstrip()
    if kind is ScopeKind.ATTEMPT:
        method = attributes.get(METHOD)
        return str(method) if method in _METHODS else "HTTP"
    return f"tidegate.{kind}"


def _exported(name: str, value: str | float) -> _Value:
    """The value to export: bounded in length and in the form of the semantic conventions."""
    if isinstance(value, str):
        if name == METHOD and value not in _METHODS:
            return "_OTHER"
        value = value[:_MAX_TEXT]
        return (value,) if name in _LISTS else value
    return value
