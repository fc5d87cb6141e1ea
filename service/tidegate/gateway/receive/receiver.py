"""Receives a call: counts it, identifies its caller, sets its deadline, and prepares the request for the upstream."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, Protocol

from msgspec.structs import replace

from tidegate.core.claude.header_names import TIDEGATE_HOP, TIDEGATE_TIMEOUT_SECONDS
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import ConfigurationError, Refusal
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.domain.pause import Pauses
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.transport import Fields, Headers
from tidegate.core.ports.usage_sink import UsageSink
from tidegate.gateway.call import Call, named_seconds, names_timeout, silence_seconds, timeout_seconds
from tidegate.gateway.forwarded_headers import for_upstream, listed, uncompressed
from tidegate.gateway.gateway_errors import client_version_fields
from tidegate.gateway.receive.body_start import KEPT_BYTES, read_start
from tidegate.gateway.receive.call_caps import CallCaps
from tidegate.gateway.receive.client_request import ClientRequest
from tidegate.gateway.receive.foreign_paths import foreign_path
from tidegate.gateway.receive.prepared_call import PreparedCall, is_lookup, prepare_call
from tidegate.gateway.receive.request import OTHER_ROUTE, InvalidCall, check_target
from tidegate.gateway.spending_headers import wants
from tidegate.gateway.upstream_key import UpstreamKey
from tidegate.http.asgi import Message
from tidegate.identity.identify import Identifier
from tidegate.identity.sessions import origin_of

__all__ = ["BodyReferences", "Receiver"]

_HOP: Final = TIDEGATE_HOP.encode()
_TIMEOUT_SECONDS: Final = TIDEGATE_TIMEOUT_SECONDS.encode()
_SDK_SECONDS: Final = 599.0
"""The SDKs and Claude Code wait for 600 s unless told otherwise, here less a margin. Nobody has chosen this time."""


class BodyReferences(Protocol):
    """Checks the objects that requests name. The checks raise `InvalidCall` or `Refusal`."""

    @property
    def are_checked(self) -> bool:
        """Whether there are tenants."""
        ...

    def are_read(self, path: str, fields: Fields) -> bool:
        """Whether the body of a call with this path and these header fields may name objects of a tenant."""
        ...

    async def check_fields(self, caller: Caller, headers: Headers) -> None:
        """Checks the header fields."""
        ...

    async def check(self, caller: Caller, body: bytes) -> None:
        """Checks a whole body."""
        ...

    def checked(self, caller: Caller, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of a long body, checked as they come."""
        ...


class Receiver:
    """Receives calls. Every call that was passed to `receive` must be passed to `caps.leave` at its end.

    Args:
        identifier: identifies the caller of a request.
        caps: bounds of the calls under way and of the memory of their bodies.
        clock: the clock of the calls.
        pool_for: returns the pool that a call uses, from the pool that its request names.
        pauses: returns the pauses in effect.
        upstream_key: replaces the client's key.
        hop_id: the id of this process in the header that shows loops; unique, without commas.
        default_timeout_seconds: how long a call may take if its client does not say; > 0.
        comment_seconds: when a client that waits for a stream is sent the first comment; 0: never.
        stream_wait_seconds: how long such a client may wait, if its SDK would wait for 10 minutes; the default timeout
            if that is longer.
        passes_trace_context: whether the client's trace context is sent upstream.
        usage_sink: as for `Gateway`.
        references: checks the objects that requests name; None: there are no tenants.
    """

    def __init__(
        self,
        identifier: Identifier,
        caps: CallCaps,
        clock: Clock,
        pool_for: Callable[[str], str],
        pauses: Callable[[], Pauses],
        *,
        upstream_key: UpstreamKey,
        hop_id: str,
        default_timeout_seconds: float,
        comment_seconds: float,
        stream_wait_seconds: float,
        passes_trace_context: bool,
        usage_sink: UsageSink | None = None,
        references: BodyReferences | None = None,
    ) -> None:
        self._caps = caps
        self._identifier = identifier
        self._clock = clock
        self._pool_for = pool_for
        self._pauses = pauses
        self._upstream_key = upstream_key
        self._hop_id = hop_id
        self._default_timeout_seconds = default_timeout_seconds
        self._comment_seconds = comment_seconds
        self._stream_wait_seconds = max(stream_wait_seconds, default_timeout_seconds)
        self._passes_trace_context = passes_trace_context
        self._usage_sink = usage_sink
        self._references = references

    async def receive(self, call: Call, scope: Message, client_request: ClientRequest) -> PreparedCall:
        """Checks a request, prices it, and fills in what the call is about.

        Raises:
            Refusal: the call may not be made, or not now.
            InvalidCall: the request cannot be sent on.
            ClientDisconnected: the client left before the end of a body that is read whole.
        """
        hops = listed(scope["headers"], _HOP) if _HOP in call.fields else []
        if self._hop_id in hops:
            raise Refusal(Cause.LOOP, "the call came back: the upstream URL leads to this service itself")
        self._check_in(call, scope)
        denied: Refusal | InvalidCall | None = scope.get("state", {}).pop("denied", None)
        if denied is not None:
            raise denied
        left_seconds = timeout_seconds(
            call.fields, self._default_timeout_seconds, is_lookup=is_lookup(call.route, scope["method"])
        )
        call.deadline_ns = call.started_ns + to_ns(left_seconds)
        call.names_timeout = names_timeout(call.fields)
        call.wants_cost, call.wants_budgets = wants(call.fields, b"cost"), wants(call.fields, b"budget")
        references = self._references
        if references is not None and not references.are_checked:
            references = None
        names_objects = references is not None and references.are_read(scope["path"], call.fields)
        prepared = await prepare_call(
            scope,
            client_request,
            call,
            self._upstream_headers(call, scope, hops),
            timeout_seconds=left_seconds,
            add_body_bytes=partial(self._caps.add_body_bytes, call),
            finds_objects=names_objects,
        )
        if references is not None:
            await references.check_fields(call.caller, scope["headers"])
            if names_objects:
                await self._check_references(references, call, prepared, left_seconds)
        self._apply_sdk_timeouts(call, prepared)
        call.pool = self._pool_for(prepared.pool)
        call.model, call.fields = prepared.model, client_version_fields(call.fields)
        call.external_wait_ns += client_request.waited_ns
        return prepared

    def _check_in(self, call: Call, scope: Message) -> None:
        """Counts the call, identifies its caller, and checks its path and whether the caller or session is paused."""
        self._caps.enter(call)
        call.caller = self._identifier.identify(call.fields)
        self._caps.enter_caller(call)
        if self._usage_sink is not None:
            self._usage_sink.check()
        check_target(scope["method"], scope.get("raw_path") or scope["path"].encode())
        if call.route == OTHER_ROUTE and (foreign := foreign_path(scope["path"])) is not None:
            raise foreign
        try:
            call.caller, call.session, call.agent = origin_of(call.caller, call.fields)
        except ConfigurationError as error:
            raise InvalidCall(str(error)) from None
        paused = self._pauses().refusal(call.caller, call.session)  # before its body is read; the pool is checked later
        if paused is not None:
            raise paused

    async def _check_references(
        self, references: BodyReferences, call: Call, prepared: PreparedCall, timeout_seconds: float
    ) -> None:
        """Checks the objects that a body names: now, or while its body is streamed, if that is long.

        Raises:
            InvalidCall: 404, the caller may not use one of them; or as `read_start`.
            Refusal: LEDGER_UNAVAILABLE, the ledger cannot say; or as `read_start`.
        """
        request, body = prepared.request, prepared.request.body
        if not prepared.names_objects and not prepared.creates_objects:
            return
        if not isinstance(body, bytes) and (request.content_length or 0) <= KEPT_BYTES:
            add_body_bytes, asked_ns = partial(self._caps.add_body_bytes, call), self._clock.monotonic_ns()
            body = await read_start(body, add_body_bytes=add_body_bytes, timeout_seconds=timeout_seconds)
            call.external_wait_ns += self._clock.monotonic_ns() - asked_ns
        if not isinstance(body, bytes):
            prepared.request = replace(request, body=references.checked(call.caller, body))
            return
        if prepared.names_objects:
            await references.check(call.caller, body)
        prepared.request = replace(request, body=body, content_length=None)
        if prepared.creates_objects:
            call.creates_objects = True
            prepared.request = uncompressed(prepared.request)

    def _upstream_headers(self, call: Call, scope: Message, hops: list[str]) -> Headers:
        return for_upstream(
            scope["headers"],
            call.fields,
            api_key=self._upstream_key.value,
            hops=", ".join([*hops, self._hop_id]).encode("latin-1"),
            passes_trace_context=self._passes_trace_context,
        )

    def _apply_sdk_timeouts(self, call: Call, prepared: PreparedCall) -> None:
        """Moves the deadline if the client's SDK limits the silence before its response.

        The SDKs count from the end of the request to the first byte of the response, or to its head. That sets no
        deadline for a body that is still being sent. A stream whose comments come sooner may wait longer than the SDK
        says by default.
        """
        if _TIMEOUT_SECONDS in call.fields or not isinstance(prepared.request.body, bytes):
            return
        head_seconds, read_seconds = named_seconds(call.fields), silence_seconds(call.fields)
        if prepared.streams and self._comment_seconds:
            longest_seconds = head_seconds or read_seconds or 0.0
            if longest_seconds >= _SDK_SECONDS and longest_seconds > self._comment_seconds:
                call.deadline_ns = call.started_ns + to_ns(self._stream_wait_seconds)
            is_kept_alive = read_seconds is None or read_seconds > self._comment_seconds
        else:
            is_kept_alive = False
        if head_seconds is None and read_seconds is not None and not is_kept_alive:
            call.deadline_ns = min(call.deadline_ns, self._clock.monotonic_ns() + to_ns(read_seconds))
            call.names_timeout = True
