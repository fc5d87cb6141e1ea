"""Spans of one call: of the request, of all its attempts together, and of each attempt."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final

from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import NULL_SCOPE, Observer, Scope, ScopeKind
from tidegate.core.ports.span_attributes import (
    ERROR_TYPE,
    FINISH_REASON,
    MAX_TOKENS,
    METHOD,
    MODEL,
    RESEND_COUNT,
    RESPONSE_ID,
    RESPONSE_MODEL,
    STATUS,
    STREAMED,
    TIME_TO_FIRST_CHUNK,
    URL_PATH,
    described_call,
    set_error,
    set_upstream_request_id,
    set_usage,
)
from tidegate.gateway.call import Call
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.http.asgi import Message

__all__ = ["CallSpans", "request_span", "spans_of"]

_NO_SPAN: Final = nullcontext()
_NO_HEADERS: Final[AbstractContextManager[Mapping[str, str]]] = nullcontext({})


class CallSpans:
    """Records nothing. Base of the spans of a call that is traced.

    The blocks are entered in this order: `call`, in it `attempt` once per attempt, then `settlement`. The spans of
    `call` and of the successful `attempt` stay open after their blocks, and end with `settlement`.

    Attributes:
        are_recorded: whether any span is recorded.
    """

    __slots__ = ()
    are_recorded = False

    def call(self) -> AbstractContextManager[None]:
        """The block in which attempts are made until one gets a response."""
        return _NO_SPAN

    def attempt(self) -> AbstractContextManager[Mapping[str, str]]:
        """The block in which one request is sent; its value is the trace headers to send with it."""
        return _NO_HEADERS

    def settlement(
        self,
        response: ResponseStart,  # noqa: ARG002 - used where spans are recorded
        usage: Usage | None,  # noqa: ARG002
        outcome: Outcome,  # noqa: ARG002
        *,
        succeeded: bool,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """The block that ends the lease of a response that has been relayed.

        Args:
            response: the response.
            usage: what it used, if known.
            outcome: how its lease ends.
            succeeded: whether the response was complete and without an error event.
        """
        return _NO_SPAN


class _RecordedSpans(CallSpans):
    """The spans of one call; see `ScopeKind.CHAT` and `ScopeKind.ATTEMPT` for their attributes."""

    __slots__ = (
        "_attempt",
        "_call",
        "_chat",
        "_clock",
        "_observer",
        "_open_attempt",
        "_open_call",
        "_prepared",
        "_started_ns",
    )

    are_recorded = True

    def __init__(self, observer: Observer, clock: Clock, call: Call, prepared: PreparedCall) -> None:
        self._observer = observer
        self._call = call
        self._prepared = prepared
        self._started_ns = clock.monotonic_ns()
        self._chat: Scope = NULL_SCOPE
        self._attempt: Scope = NULL_SCOPE
        self._open_call: AbstractContextManager[object] = _NO_SPAN
        self._open_attempt: AbstractContextManager[object] = _NO_SPAN

    @contextmanager
    def call(self) -> Iterator[None]:
        with ExitStack() as spans:
            if self._prepared.shape is not None:  # only these calls ask a model a question
                max_tokens = self._prepared.shape.max_tokens
                attributes = {} if max_tokens is None else {MAX_TOKENS: max_tokens}
                self._chat = spans.enter_context(self._scope(ScopeKind.CHAT, attributes))
            try:
                yield
            except BaseException as error:
                set_error(self._chat, error)
                raise
            finally:
                self._chat.set("tidegate.attempts", self._call.attempts)
            self._open_call = spans.pop_all()

    @contextmanager
    def attempt(self) -> Iterator[Mapping[str, str]]:
        with ExitStack() as spans:
            self._attempt = spans.enter_context(self._scope(ScopeKind.ATTEMPT, self._request()))
            try:
                yield self._attempt.headers()
            except BaseException as error:
                set_error(self._attempt, error)
                raise
            self._open_attempt = spans.pop_all()

    @contextmanager
    def settlement(
        self, response: ResponseStart, usage: Usage | None, outcome: Outcome, *, succeeded: bool
    ) -> Iterator[None]:
        with self._open_call, self._open_attempt:
            self._describe(response, usage)
            if not succeeded:
                for scope in (self._attempt, self._chat):
                    scope.set(ERROR_TYPE, "abandoned" if outcome is Outcome.ABANDONED else "broken")
            yield

    def _request(self) -> Mapping[str, str | float]:
        """The attributes of the request, without its query."""
        request, resends = self._prepared.request, self._call.attempts - 1
        target = request.target.partition(b"?")[0].decode("latin-1")
        sent: dict[str, str | float] = {METHOD: request.method.decode("latin-1"), URL_PATH: target}
        return {**sent, RESEND_COUNT: resends} if resends else sent

    def _describe(self, response: ResponseStart, usage: Usage | None) -> None:
        chat = self._chat
        if response.first_token_ns is not None:
            chat.set(STREAMED, True)  # noqa: FBT003 - the value of an attribute
            chat.set(TIME_TO_FIRST_CHUNK, to_seconds(response.first_token_ns - self._started_ns))
        if usage is not None:
            set_usage(chat, usage)
        for name, value in zip((RESPONSE_ID, RESPONSE_MODEL, FINISH_REASON), response.reader.metadata, strict=True):
            if value:
                chat.set(name, value)
        self._attempt.set(STATUS, response.response.status)
        set_upstream_request_id(self._attempt, self._call.upstream_request_id)

    def _scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        common = {
            "tidegate.pool": self._call.pool,
            "tidegate.caller": self._call.caller.label,
            MODEL: self._prepared.model,
        }
        return self._observer.scope(kind, {**common, **attributes})


_NO_SPANS: Final = CallSpans()


def spans_of(call: Call, prepared: PreparedCall, observer: Observer | None, clock: Clock) -> CallSpans:
    """The spans of a call; they record nothing if the call is not traced."""
    return _RecordedSpans(observer, clock, call, prepared) if call.traced and observer is not None else _NO_SPANS


@contextmanager
def request_span(observer: Observer, call: Call, scope: Message) -> Iterator[Scope]:
    """The span of a whole call with this ASGI scope. At its end it has the outcome of the call."""
    with observer.scope(ScopeKind.REQUEST, described_call(scope, call.route, call.fields, call.request_id)) as span:
        call.traced = span.traced
        try:
            yield span
        finally:
            if call.traced:
                _describe_outcome(span, call)


def _describe_outcome(span: Scope, call: Call) -> None:
    span.set("tidegate.outcome", call.outcome)
    span.set("tidegate.pool", call.pool)
    span.set("tidegate.caller", call.caller.label)
    if call.status is not None:
        span.set(STATUS, call.status)
    if call.refused is not None:
        span.set("tidegate.cause", call.refused)
