"""The gateway: an ASGI application that relays `/v1/…` to the upstream, byte for byte, under the limiter."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from tidegate.core.claude.failures import credentials_refusal, failed_outcome
from tidegate.core.claude.header_names import TIDEGATE_UPSTREAM
from tidegate.core.domain.budget import Spender
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.errors import (
    Refusal,
    TidegateError,
    UpstreamError,
    UpstreamUnreachable,
    forget_frames,
)
from tidegate.core.domain.events import RefusedCall
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.observer import NULL_SCOPE, Scope
from tidegate.core.ports.transport import Transport
from tidegate.core.ports.usage_sink import UsageSink
from tidegate.engine.admission import Admission
from tidegate.gateway.attempt.attempts import Attempts
from tidegate.gateway.attempt.call_spans import request_span
from tidegate.gateway.attempt.leased_response import LeasedResponse
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.gateway.attempt.relay_context import RelayContext
from tidegate.gateway.call import Call
from tidegate.gateway.forwarded_headers import is_event_stream
from tidegate.gateway.gateway_errors import LocalResponse, invalid, no_stream, refused, unreachable
from tidegate.gateway.receive.call_caps import CallCaps
from tidegate.gateway.receive.client_request import ClientDisconnected, ClientRequest
from tidegate.gateway.receive.receiver import Receiver
from tidegate.gateway.receive.request import MESSAGES_ROUTE, InvalidCall, route_of
from tidegate.gateway.relay.client_response import ClientResponse
from tidegate.gateway.relay.keep_alive import KeepAlive
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.gateway.spending_headers import budget_header, cost_header
from tidegate.gateway.tenants.message_objects import MessageObjects
from tidegate.gateway.tenants.references import References
from tidegate.gateway.tenants.tenants import Tenants
from tidegate.gateway.upstream_key import UpstreamKey
from tidegate.http.asgi import EXCHANGE, Message, Receive, Send
from tidegate.http.request_id import new_request_id
from tidegate.identity.identify import Identifier

__all__ = ["Gateway"]

_ABANDONED, _SETTLED = Outcome.ABANDONED, Outcome.SETTLED  # looked up once: every call uses them
_LIMITS: Final = RelayLimits()
_NO_EXTENSIONS: Final[Mapping[str, object]] = {}
_DRAINED: Final = "the service is shutting down"


class Gateway:
    """Relays HTTP calls whose path starts with `/v1/`. Belongs to one event loop.

    Args:
        admission: reserves quota in the pools; its observer receives the events of every call and attempt.
        transport: sends requests to the upstream.
        identifier: identifies the caller of a request.
        upstream_key: the service's own API key, sent in place of the client's.
        upstream_kind: what the upstream is. Every response of a simulator says that it is simulated.
        retry_policy: returns the policy in effect for failures other than 429.
        random: returns random numbers from 0 to 1, for jitter.
        hop_id: the id of this process in the header that shows loops; unique, without commas.
        default_timeout_seconds: how long a call may take if its client does not say; > 0.
        limits: bounds of the relay.
        new_request_id: makes the id of a call that has none in `scope["state"]["request_id"]` yet.
        passes_trace_context: whether the client's trace context is sent upstream.
        reachability: tracks whether connections to the upstream can be opened; None if nothing does.
        usage_sink: refuses calls whose usage cannot be recorded; None: none is refused for that.
        tenants: decides which objects a caller may use; None: each may use all.
    """

    def __init__(
        self,
        admission: Admission,
        transport: Transport,
        identifier: Identifier,
        *,
        upstream_key: str,
        upstream_kind: Literal["claude", "simulator"],
        retry_policy: Callable[[], RetryPolicy],
        random: Callable[[], float],
        hop_id: str,
        default_timeout_seconds: float = 600.0,
        limits: RelayLimits = _LIMITS,
        new_request_id: Callable[[], str] = new_request_id,
        passes_trace_context: bool = False,
        reachability: Reachability | None = None,
        usage_sink: UsageSink | None = None,
        tenants: Tenants | None = None,
    ) -> None:
        self._tenants = tenants
        self._upstream_key = UpstreamKey(upstream_key)
        self._context = RelayContext(
            admission, transport, retry_policy, random, limits, self._upstream_key, reachability
        )
        self._read_on_calls = 0
        self._caps = CallCaps(limits)
        self._new_receiver = partial(
            Receiver,
            identifier,
            self._caps,
            admission.clock,
            admission.store.pool_for,
            lambda: admission.pauses,
            upstream_key=self._upstream_key,
            hop_id=hop_id,
            passes_trace_context=passes_trace_context,
            usage_sink=usage_sink,
            references=None if tenants is None else References(tenants),
        )
        self._clock = admission.clock
        self._observer = admission.observer
        self._configure(limits, default_timeout_seconds)
        self._new_request_id = new_request_id
        self._extra_headers = [(TIDEGATE_UPSTREAM.encode(), b"simulator")] if upstream_kind == "simulator" else []

    def upstream_key(self) -> bytes:
        """The service's own API key."""
        return self._upstream_key.value

    def configure(self, *, upstream_key: str, default_timeout_seconds: float, limits: RelayLimits) -> None:
        """Replaces settings, for calls that arrive from now on. The key is replaced for all attempts from now on."""
        self._upstream_key.replace(upstream_key)
        self._caps.configure(limits)
        self._context = replace(self._context, limits=limits)
        self._configure(limits, default_timeout_seconds)

    def _configure(self, limits: RelayLimits, default_timeout_seconds: float) -> None:
        self._limits = limits
        self._default_timeout_ns = to_ns(default_timeout_seconds)
        self._receiver = self._new_receiver(
            default_timeout_seconds=default_timeout_seconds,
            comment_seconds=limits.comment_seconds,
            stream_wait_seconds=limits.stream_wait_seconds,
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP call. A response that breaks off upstream breaks off for the client at the same byte.

        If the call is cancelled, `scope["state"]["is_draining"]()` says whether the service is stopping, and
        `scope["state"]["started"]` is set to whether the response has begun.
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
            with request_span(self._observer, call, scope) as span:
                await self._serve(call, scope, receive, send, span)

    async def _serve(self, call: Call, scope: Message, receive: Receive, send: Send, span: Scope) -> None:
        """Responds to a call, unless its client disconnects, and reports its outcome."""
        grace_seconds = partial(self._read_on_seconds, call) if self._limits.read_on_seconds else None
        exchange = scope.get("extensions", _NO_EXTENSIONS).get(EXCHANGE)
        client_response = ClientResponse(call, self._extra_headers, send, exchange)
        try:
            with ClientRequest(receive, self._clock.monotonic_ns, grace_seconds, exchange) as client_request:
                call.outcome = await self._respond(call, scope, client_request, client_response)
        except ClientDisconnected:
            call.outcome = "abandoned"
        except asyncio.CancelledError:
            state = scope.get("state", {})
            state["started"] = call.status is not None
            if state.get("is_draining", bool)():
                if call.status is None:
                    self._report_drained(call)
                else:
                    await client_response.end_stream_with_error(_DRAINED)
            raise
        finally:
            self._read_on_calls -= call.is_read_on
            self._caps.leave(call)
            if self._observer is not None:
                self._observer.event(call.finished(self._clock.monotonic_ns(), span.exemplar()))

    def _report_drained(self, call: Call) -> None:
        """Reports a call that is refused because the service stops. The server sends the response."""
        call.refused, call.status = Cause.DRAINING, CAUSES[Cause.DRAINING].status
        call.outcome = "refused"
        self._context.report(RefusedCall(call.pool, call.caller, Cause.DRAINING))

    def _read_on_seconds(self, call: Call) -> float:
        """Time for which the response of a call whose client has disconnected is read on, for its usage."""
        if not call.in_flight or self._read_on_calls >= self._limits.read_on_calls:
            return 0.0
        call.is_read_on = True
        self._read_on_calls += 1
        return self._limits.read_on_seconds

    async def _respond(
        self, call: Call, scope: Message, client_request: ClientRequest, client_response: ClientResponse
    ) -> str:
        """Responds to a call; returns its outcome, as in `RequestFinished`."""
        context = self._context  # one configuration for the whole call
        try:
            prepared = await self._receiver.receive(call, scope, client_request)
            if prepared.shape is not None and client_response.is_direct:
                scope["headers"] = ()  # frees memory while the call waits: no middleware will read them
            attempts = Attempts(context, call, prepared, client_request.task)
            if prepared.streams and context.limits.comment_seconds:
                keep_alive = KeepAlive(call, client_response, context.limits.comment_seconds)
                keep_alive.start()
                try:
                    response = await attempts.response()
                finally:
                    await keep_alive.stop()
            else:
                response = await attempts.response()
        except Refusal as refusal:
            forget_frames(refusal)
            # The admission has reported refusals of calls that have a pool.
            return await self._refused(call, refusal, client_response, is_reported=bool(call.pool))
        except InvalidCall as error:
            forget_frames(error)
            await client_response.local(invalid(error, call.request_id))
            return "client_error"
        except UpstreamUnreachable as error:
            forget_frames(error)
            await client_response.local(self._unreachable(call, error))
            return failed_outcome(error)
        except UpstreamError as error:
            forget_frames(error)
            return await self._failed(call, error, client_response)
        prepared.drop_request()
        self._caps.remove_body(call)
        call.fields = {}
        return await self._relay(call, response, client_response, client_request)

    async def _refused(
        self, call: Call, refusal: Refusal, client_response: ClientResponse, *, is_reported: bool = False
    ) -> str:
        """Responds to a call that Tidegate refuses; returns its outcome."""
        if not is_reported:
            self._context.report(RefusedCall(call.pool, call.caller, refusal.cause))
        call.refused = refusal.cause
        if refusal.cause is Cause.BUDGET:
            call.wants_budgets = True
        self._add_budget_header(call)
        await client_response.local(refused(refusal, call.request_id, call.fields))
        return "refused"

    async def _failed(self, call: Call, error: UpstreamError, client_response: ClientResponse) -> str:
        """Responds to a call with the upstream's last error; returns its outcome."""
        refusal = credentials_refusal(error)
        if refusal is not None:
            return await self._refused(call, refusal, client_response)
        await client_response.error(error)
        return failed_outcome(error)

    def _unreachable(self, call: Call, error: UpstreamUnreachable) -> LocalResponse:
        """The response if the upstream gave none."""
        # The error says more than the clock: timers may fire some milliseconds early.
        out_of_time = error.out_of_time or self._clock.monotonic_ns() >= call.deadline_ns
        return unreachable(error, call.request_id, out_of_time=out_of_time)

    async def _relay(
        self, call: Call, response: LeasedResponse, client_response: ClientResponse, client_request: ClientRequest
    ) -> str:
        """Relays a response and settles it; returns the outcome of the call."""
        outcome, is_complete = _ABANDONED, False
        start, head = response.start, response.start.response
        objects = self._objects(call)
        try:
            if client_response.began_with_comment and not is_event_stream(head.fields):
                outcome = _SETTLED
                await client_response.local(no_stream(call.request_id))
                return "upstream_error"
            last: bytes | None = None
            body = await _read_whole(start) if _is_awaited_whole(call, start) else None
            self._add_spending_headers(call, response, is_whole=start.is_over or body is not None)
            if body is None and not start.is_over:
                await client_response.start(head.status, head.headers, head.fields)
                last = await self._relay_parts(call, response, client_response, objects)
            outcome = _ABANDONED if call.is_read_on else _SETTLED
            is_complete = True
            call.external_wait_ns += head.waited_ns
            whole = body or (start.whole() if last is None else b"")
            if objects is not None:
                await objects.feed(whole if last is None else last)
                await objects.end()
            call.handed_ns = self._clock.monotonic_ns()
            if last is None:
                await client_response.whole(head.status, head.headers, head.fields, whole)
            else:
                await client_response.end(last)
            client_request.unwatch()  # the response has been sent: the client does not wait for the rest
        except TidegateError as error:
            forget_frames(error)
            outcome = _SETTLED  # the upstream broke off; returning without an end makes the server break off as well
            if call.status is None and isinstance(error, UpstreamUnreachable):  # it was awaited whole
                await client_response.local(self._unreachable(call, error))
        finally:
            succeeded = False
            try:
                succeeded = is_complete and start.reader.error is None  # parses only now: the client has its bytes
            finally:
                await response.settle(outcome, succeeded=succeeded)
        return "ok" if succeeded else "upstream_error"

    def _objects(self, call: Call) -> MessageObjects | None:
        """Records the objects that a response creates, if it may create any."""
        if self._tenants is None or not call.creates_objects:
            return None
        return MessageObjects(partial(self._tenants.record_if_new, call.caller))

    def _add_spending_headers(self, call: Call, response: LeasedResponse, *, is_whole: bool) -> None:
        """Adds the cost of the call, if its client asks for it and it is known, and the rest of its budgets."""
        self._add_budget_header(call)
        if call.wants_cost and is_whole and (cost := response.cost_micro_usd()) is not None:
            call.spending_headers = (*call.spending_headers, cost_header(cost))

    def _add_budget_header(self, call: Call) -> None:
        store = self._context.admission.store
        if call.wants_budgets or store.has_low_budgets:
            budgets = store.budgets_now(Spender(call.caller.label, call.caller.team, call.session))
            header = budget_header(budgets, all_budgets=call.wants_budgets)
            call.spending_headers = () if header is None else (header,)

    async def _relay_parts(
        self,
        call: Call,
        response: LeasedResponse,
        client_response: ClientResponse,
        objects: MessageObjects | None,
    ) -> bytes:
        """Relays all parts of a response but the last, which it returns; empty if the response ends without one."""
        start, now_ns = response.start, self._clock.monotonic_ns
        chunk = await start.next_chunk()
        while chunk is not None and not start.at_end:
            if objects is not None:
                await objects.feed(chunk)
            handed_ns = now_ns()
            await client_response.part(chunk)
            taken_ns = now_ns()
            call.external_wait_ns += taken_ns - handed_ns
            if response.accounting_is_due(taken_ns):
                await response.account(taken_ns)
            chunk = await start.next_chunk()
        return chunk or b""


def _is_awaited_whole(call: Call, start: ResponseStart) -> bool:
    """Whether a response has to be read to its end before it is relayed, because its head says what it has cost."""
    is_message = call.wants_cost and call.route == MESSAGES_ROUTE
    return is_message and not start.is_over and not is_event_stream(start.response.fields)


async def _read_whole(start: ResponseStart) -> bytes:
    parts = []
    while (chunk := await start.next_chunk()) is not None:
        parts.append(chunk)
    return b"".join(parts)
