"""The gateway: an ASGI callable that relays `/v1/…` to the upstream, byte for byte, under the limiter."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from tidegate.core.claude.failures import attempt_status, credentials_refusal
from tidegate.core.claude.header_names import TIDEGATE_HOP, TIDEGATE_UPSTREAM
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.errors import ConfigurationError, Refusal, TidegateError, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import RefusedCall
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.span_attributes import STATUS, described_call
from tidegate.core.ports.transport import Transport
from tidegate.engine.admission import Admission
from tidegate.gateway.attempt.attempts import Attempts
from tidegate.gateway.attempt.leased_response import LeasedResponse
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.gateway.attempt.relay_context import RelayContext
from tidegate.gateway.call import Call, names_timeout, silence_seconds, timeout_seconds
from tidegate.gateway.forwarded_headers import for_upstream, is_event_stream, listed, uncompressed
from tidegate.gateway.gateway_errors import client_version_fields, invalid, no_stream, refused, unreachable
from tidegate.gateway.receive.admission_caps import AdmissionCaps
from tidegate.gateway.receive.client_request import ClientDisconnected, ClientRequest
from tidegate.gateway.receive.foreign_paths import foreign_path
from tidegate.gateway.receive.prepared_call import PreparedCall, is_lookup, prepare_call
from tidegate.gateway.receive.request import OTHER_ROUTE, InvalidCall, check_target, route_of
from tidegate.gateway.relay.client_response import ClientResponse
from tidegate.gateway.relay.keep_alive_comments import with_keep_alive_comments
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.http.asgi import EXCHANGE, Message, Receive, Send
from tidegate.identity.identify import Identifier
from tidegate.identity.sessions import origin_of

__all__ = ["Gateway"]

_HOP: Final = TIDEGATE_HOP.encode()
_ABANDONED, _SETTLED = Outcome.ABANDONED, Outcome.SETTLED  # looked up once: every call comes by here
_SIMULATOR_KEY: Final = "simulator"
"""What the simulator is sent as key, which it does not check, when no real one is configured."""

_LIMITS: Final = RelayLimits()
_NO_EXTENSIONS: Final[Mapping[str, object]] = {}


class Gateway:
    """Relays HTTP calls whose path starts with `/v1/`. Belongs to one event loop.

    Args:
        admission: to the pools; its observer hears of every call and attempt.
        transport: to the upstream.
        identifier: names the caller of a request.
        upstream_key: the service's own API key, sent in place of the client's.
        upstream_kind: what the upstream is; a simulator needs no key, and every answer says that it is simulated.
        retry_policy: gives the policy in effect: how often and after how long failures other than 429 are repeated.
        random: random numbers from 0 to 1, for jitter.
        hop_id: this process's id in the header that shows loops; unique, without commas.
        default_timeout_seconds: how long a call may take whose client does not say; > 0.
        limits: bounds of the relay.
        new_request_id: makes the id of a call that has none in `scope["state"]["request_id"]` yet. Of a call that is
            cancelled, `scope["state"]["is_draining"]()` tells whether the service is about to stop.
        passes_trace_context: whether the client's trace context goes on to the upstream.
        reachability: whether connections to the upstream can be opened; None: nobody tracks it.

    Raises:
        ConfigurationError: there is no key for a real upstream.
    """

    def __init__(
        self,
        admission: Admission,
        transport: Transport,
        identifier: Identifier,
        *,
        upstream_key: str | None,
        upstream_kind: Literal["claude", "simulator"],
        retry_policy: Callable[[], RetryPolicy],
        random: Callable[[], float],
        hop_id: str,
        default_timeout_seconds: float = 600.0,
        limits: RelayLimits = _LIMITS,
        new_request_id: Callable[[], str] = lambda: f"tg_{uuid.uuid4().hex}",
        passes_trace_context: bool = False,
        reachability: Reachability | None = None,
    ) -> None:
        if upstream_key is None and upstream_kind == "claude":
            raise ConfigurationError("upstream_key", None, "the API key of the service")
        self._context = RelayContext(admission, transport, retry_policy, random, limits, reachability)
        self._limits = limits
        self._read_on = 0
        self._admission_caps = AdmissionCaps(
            limits.calls, limits.calls_per_caller, limits.body_bytes, limits.body_bytes_per_caller
        )
        self._clock = admission.clock
        self._observer = admission.observer
        self._identifier = identifier
        self._key = (upstream_key or _SIMULATOR_KEY).encode()
        self._hop_id = hop_id
        self._default_timeout_seconds = default_timeout_seconds
        self._default_timeout_ns = to_ns(default_timeout_seconds)
        self._new_request_id = new_request_id
        self._passes_trace_context = passes_trace_context
        self._marks = [(TIDEGATE_UPSTREAM.encode(), b"simulator")] if upstream_kind == "simulator" else []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP call; an answer that breaks upstream breaks for the client at the same byte.

        Of a call that is cancelled, `scope["state"]["started"]` says whether its answer has begun.
        """
        now_ns = self._clock.monotonic_ns()
        state = scope.get("state", {})
        call = Call(
            state.get("request_id") or self._new_request_id(),
            route_of(scope["path"]),
            state.pop("fields", None) or dict(scope["headers"]),
            now_ns,
            now_ns + self._default_timeout_ns,
        )
        if self._observer is None or not self._observer.traces_call(call.fields):
            await self._serve(call, scope, receive, send, NULL_SCOPE)
        else:
            with self._observer.scope(
                ScopeKind.REQUEST, described_call(scope, call.route, call.fields, call.request_id)
            ) as span:
                call.traced = span.traced
                await self._serve(call, scope, receive, send, span)

    def _cut_off(self, call: Call, *, draining: bool) -> str:
        """The outcome of a call that ends with the service; whoever serves it says so, unless its answer has begun."""
        if not draining or call.status is not None:
            return "abandoned"
        call.refused, call.status = Cause.DRAINING, CAUSES[Cause.DRAINING].status
        if self._observer is not None:
            self._observer.event(RefusedCall(call.pool, call.caller, Cause.DRAINING))
        return "refused"

    async def _serve(self, call: Call, scope: Message, receive: Receive, send: Send, span: Scope) -> None:
        """Answers a call, if its client stays, and tells how it went."""
        grace_seconds = partial(self._read_on_seconds, call) if self._limits.read_on_seconds else None
        exchange = scope.get("extensions", _NO_EXTENSIONS).get(EXCHANGE)
        outcome = "abandoned"
        try:
            with ClientRequest(receive, self._clock.monotonic_ns, grace_seconds, exchange) as client_request:
                outcome = await self._answered(
                    call, scope, client_request, ClientResponse(call, self._marks, send, exchange)
                )
        except ClientDisconnected:
            outcome = "abandoned"  # nobody is left to answer
        except asyncio.CancelledError:
            state = scope.get("state", {})
            state["started"] = call.status is not None
            outcome = self._cut_off(call, draining=state.get("is_draining", bool)())
            raise
        finally:
            self._read_on -= call.is_read_on
            self._admission_caps.leave(call)
            if self._observer is not None:
                self._observer.event(call.finished(outcome, self._clock.monotonic_ns(), span.exemplar()))
            if call.traced:
                _describe(span, call, outcome)

    def _read_on_seconds(self, call: Call) -> float:
        """How long the answer of a call is read on whose client has left."""
        if not call.in_flight or self._read_on >= self._limits.read_on_calls:
            return 0.0
        call.is_read_on = True
        self._read_on += 1
        return self._limits.read_on_seconds

    async def _answered(
        self, call: Call, scope: Message, client_request: ClientRequest, client_response: ClientResponse
    ) -> str:
        """Answers a call; returns its outcome, as in `RequestFinished`."""
        try:
            prepared = await self._prepare(call, scope, client_request)
            if (
                prepared.shape is not None and client_response.is_direct
            ):  # nobody between here and the server needs them again
                scope["headers"] = ()
            attempts = Attempts(self._context, call, prepared, client_request.task)
            if prepared.streams and self._limits.comment_seconds:
                async with with_keep_alive_comments(client_response, self._limits.comment_seconds):
                    response = await attempts.response()
            else:
                response = await attempts.response()
        except Refusal as refusal:
            return await self._refused(call, refusal, client_response, is_reported=bool(call.pool))  # by the admission
        except InvalidCall as error:
            await client_response.answer(invalid(error, call.request_id))
            return "client_error"
        except UpstreamUnreachable as error:
            out_of_time = self._clock.monotonic_ns() >= call.deadline_ns
            await client_response.answer(unreachable(error, call.request_id, out_of_time=out_of_time))
            return "upstream_error"
        except UpstreamError as error:
            return await self._failed(call, error, client_response)
        prepared.drop_request()
        self._admission_caps.drop_body(call)
        call.fields = {}
        return await self._relay(call, response, client_response, client_request)

    async def _refused(
        self, call: Call, refusal: Refusal, client_response: ClientResponse, *, is_reported: bool = False
    ) -> str:
        """Answers a call that is refused; returns its outcome."""
        if not is_reported and self._observer is not None:
            self._observer.event(RefusedCall(call.pool, call.caller, refusal.cause))
        call.refused = refusal.cause
        await client_response.answer(refused(refusal, call.request_id, call.fields))
        return "refused"

    async def _failed(self, call: Call, error: UpstreamError, client_response: ClientResponse) -> str:
        """Answers a call that the upstream has answered with an error; returns its outcome."""
        refusal = credentials_refusal(error)
        if refusal is not None:
            return await self._refused(call, refusal, client_response)
        await client_response.error(error)
        if attempt_status(error) == "429":
            return "rate_limited"  # the upstream's quota, not its failure, is why it was not answered
        return "client_error" if 400 <= error.status < 500 else "upstream_error"

    async def _prepare(self, call: Call, scope: Message, client_request: ClientRequest) -> PreparedCall:
        hops = listed(scope["headers"], _HOP) if _HOP in call.fields else []
        if self._hop_id in hops:
            raise Refusal(Cause.LOOP, "the call has come back round: the upstream URL leads to this service itself")
        self._admission_caps.enter(call)
        call.caller = self._identifier.identify(call.fields)
        self._admission_caps.identified(call)
        check_target(scope["method"], scope.get("raw_path") or scope["path"].encode())
        if call.route == OTHER_ROUTE and (mistaken := foreign_path(scope["path"])) is not None:
            raise mistaken
        try:
            call.caller, call.session, call.agent = origin_of(call.caller, call.fields)
        except ConfigurationError as error:
            raise InvalidCall(str(error)) from None
        left_seconds = timeout_seconds(
            call.fields, self._default_timeout_seconds, is_lookup=is_lookup(call.route, scope["method"])
        )
        call.deadline_ns = call.started_ns + to_ns(left_seconds)
        call.names_timeout = names_timeout(call.fields)
        headers = for_upstream(
            scope["headers"],
            call.fields,
            api_key=self._key,
            hops=", ".join([*hops, self._hop_id]).encode("latin-1"),
            passes_trace_context=self._passes_trace_context,
        )
        prepared = await prepare_call(
            scope,
            client_request,
            call,
            headers,
            timeout_seconds=left_seconds,
            hold=partial(self._admission_caps.hold, call),
        )
        self._apply_read_timeout(call, prepared)
        call.pool = self._context.admission.store.pool_for(prepared.pool)
        call.model, call.fields = prepared.model, client_version_fields(call.fields)
        call.waited_ns += client_request.waited_ns
        if prepared.streams and self._limits.comment_seconds:  # its head may go out before that of the answer is known
            prepared.request = uncompressed(prepared.request)
        return prepared

    def _apply_read_timeout(self, call: Call, prepared: PreparedCall) -> None:
        """An SDK that bounds the silence of its connection waits from the end of its request to the first byte.

        That is no time limit for a body that is still being sent, or a call whose client is sent comments meanwhile.
        """
        seconds = None if call.names_timeout else silence_seconds(call.fields)
        comments = prepared.streams and self._limits.comment_seconds
        if seconds is not None and isinstance(prepared.request.body, bytes) and not comments:
            call.deadline_ns = min(call.deadline_ns, self._clock.monotonic_ns() + to_ns(seconds))
            call.names_timeout = True

    async def _relay(
        self, call: Call, response: LeasedResponse, client_response: ClientResponse, client_request: ClientRequest
    ) -> str:
        """Relays a response and settles it; returns the outcome of the call."""
        outcome, is_complete = _ABANDONED, False
        start, head = response.start, response.start.response
        try:
            if client_response.began_with_comment and not is_event_stream(head.fields):
                outcome = _SETTLED
                await client_response.answer(no_stream(call.request_id))
                return "upstream_error"
            last: bytes | None = None
            if not start.is_over:
                await client_response.start(head.status, head.headers, head.fields)
                last = await self._relay_parts(call, response, client_response)
            outcome = _ABANDONED if call.is_read_on else _SETTLED
            is_complete = True
            call.waited_ns += head.waited_ns
            call.handed_ns = self._clock.monotonic_ns()
            if last is None:
                await client_response.whole(head.status, head.headers, head.fields, start.whole())
            else:
                await client_response.end(last)
            client_request.unwatch()  # the response has been sent: the client does not wait for the rest
        except TidegateError:
            outcome = _SETTLED  # the upstream broke off; returning without an end makes the server break off as well
        finally:
            succeeded = False
            try:
                succeeded = is_complete and start.reader.error is None  # parses only now: the client has its bytes
            finally:
                await response.settle(outcome, succeeded=succeeded)
        return "ok" if succeeded else "upstream_error"

    async def _relay_parts(self, call: Call, response: LeasedResponse, client_response: ClientResponse) -> bytes:
        """Relays all parts of a response but the last, which it returns; empty if the end came without one."""
        start, now_ns = response.start, self._clock.monotonic_ns
        chunk = await start.next_chunk()
        while chunk is not None and not start.at_end:
            handed_ns = now_ns()
            await client_response.part(chunk)
            taken_ns = now_ns()
            call.waited_ns += taken_ns - handed_ns
            if response.accounting_is_due(taken_ns):
                await response.account(taken_ns)
            chunk = await start.next_chunk()
        return chunk or b""


def _describe(span: Scope, call: Call, outcome: str) -> None:
    """What the scope of a call ends with."""
    span.set("tidegate.outcome", outcome)
    span.set("tidegate.pool", call.pool)
    span.set("tidegate.caller", call.caller.label)
    if call.status is not None:
        span.set(STATUS, call.status)
    if call.refused is not None:
        span.set("tidegate.cause", call.refused)
