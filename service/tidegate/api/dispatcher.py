"""The outer ASGI application: checks access, assigns request ids, and routes to the gateway or to FastAPI."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.api.access import access_request
from tidegate.api.generation_meter import GenerationMeter
from tidegate.api.problems import CLIENT_CLOSED_REQUEST, AccessDenied, Problem, problem_of
from tidegate.api.routes.usage_page import USAGE_PAGE_PATH, USAGE_STYLE_PATH
from tidegate.api.services import Services
from tidegate.core.claude.header_names import (
    RETRY_AFTER,
    SHOULD_RETRY,
    TIDEGATE_ATTEMPTS,
    TIDEGATE_CAUSE,
    TIDEGATE_QUEUE_MS,
    TIDEGATE_REQUEST_ID,
    TIDEGATE_UPSTREAM,
)
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.ports.observer import ScopeKind, scope_of
from tidegate.core.ports.span_attributes import STATUS, described_call
from tidegate.gateway.gateway_errors import LocalResponse, invalid, refused
from tidegate.gateway.receive.foreign_paths import no_such_path
from tidegate.gateway.receive.request import InvalidCall, route_of
from tidegate.identity.access import Denial
from tidegate.observe.logging.log_format import REQUEST_ID
from tidegate.observe.metrics.labels import OTHER, ROUTES
from tidegate.observe.tracing.span_observer import set_span_attribute

__all__ = ["Dispatcher"]

_CALLS: Final = ("/api/", "/v1/")
"""Paths that count as calls in metrics; probes, scrapes and documentation do not."""
_PAGES: Final = frozenset({"/metrics", "/docs", "/openapi.json"})
_OWN_PATHS: Final = _PAGES | {"/", "/healthz", "/readyz", USAGE_PAGE_PATH, USAGE_STYLE_PATH}
_OWN_FOLDERS: Final = ("/api/", "/docs/")
"""For any other path outside of `/v1`, the error has the Claude API's format: an SDK probably called it."""
_CAUSE, _REQUEST_ID, _UPSTREAM, _QUEUE_MS, _ATTEMPTS = (
    name.encode()
    for name in (TIDEGATE_CAUSE, TIDEGATE_REQUEST_ID, TIDEGATE_UPSTREAM, TIDEGATE_QUEUE_MS, TIDEGATE_ATTEMPTS)
)
_MAX_HELD_BODIES: Final = 64
"""All bodies under `/api` together may hold this many times the maximum size of one."""
_DRAINING: Final = Denial(CAUSES[Cause.DRAINING].status, "the service is shutting down", Cause.DRAINING)


class Dispatcher:
    """Routes `/v1/…` to the gateway, and everything else, including lifespan, to the API.

    Before that it assigns a request id and applies the access rules. `scope["state"]` then has:

    - `request_id`, which the response carries as well;
    - `fields`, the header fields by name;
    - `is_draining`, a function that returns whether the service is shutting down;
    - `started`, set once the response has started.
    """

    def __init__(self, services: Services, api: ASGIApp) -> None:
        self._services = services
        self._api = api
        self._held = _BodyMemory()
        self._is_draining = lambda: services.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or lifespan."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        services, path = self._services, scope["path"]
        state = scope.setdefault("state", {})
        fields = state.get("fields")  # set by Tidegate's own server
        if fields is None:
            fields = state["fields"] = dict(scope["headers"])
        state["is_draining"] = self._is_draining
        request_id = state["request_id"] = services.new_request_id()
        REQUEST_ID.set(request_id)  # for log lines
        denial = services.access.check(path, fields)
        del fields  # frees memory while the call waits
        if denial is not None:
            await self._deny(denial, scope, receive, _RecordedResponse(services, path, state, send))
        elif path.startswith("/v1/"):  # the gateway reports its calls and adds its header fields itself
            try:
                await services.gateway(scope, receive, send)
            except asyncio.CancelledError:
                await self._end_drained(scope, receive, _RecordedResponse(services, path, state, send))
        elif path not in _OWN_PATHS and not path.startswith(_OWN_FOLDERS):
            response = _api_error(no_such_path(path), request_id)
            await response(scope, receive, _RecordedResponse(services, path, state, send).send)
        elif (denial := self._page_denial(scope, path)) is not None:
            await self._deny(denial, scope, receive, _RecordedResponse(services, path, state, send))
        else:
            await self._serve(scope, receive, _RecordedResponse(services, path, state, send))

    def _page_denial(self, scope: Scope, path: str) -> Denial | None:
        """The reason that a request may not read metrics or documentation; None if it may, and for other paths."""
        if path not in _PAGES and not path.startswith("/docs/"):
            return None
        return self._services.access.check_page(access_request(self._services.access, scope))

    async def _serve(self, scope: Scope, receive: Receive, response: "_RecordedResponse") -> None:
        started_ns = self._services.clock.monotonic_ns()
        body = _Body(receive, self._services.settings.max_body_bytes, self._held)
        try:
            await self._api(scope, body.receive, response.send)
        except asyncio.CancelledError:
            await self._end_drained(scope, receive, response)
        finally:
            body.release()
            self._report(scope["path"], scope["state"], response, started_ns)

    async def _deny(self, denial: Denial, scope: Scope, receive: Receive, response: "_RecordedResponse") -> None:
        """Responds to a request that the access rules deny. A denied call has a span, like any other."""
        path, state = scope["path"], scope["state"]
        started_ns = self._services.clock.monotonic_ns()
        observer = self._services.observer if path.startswith(_CALLS) else None
        described = described_call(scope, _route(path), state["fields"], state["request_id"])
        with scope_of(observer, ScopeKind.REQUEST, described) as span:
            state["exemplar"] = span.exemplar()
            try:
                await _denial_response(denial, scope)(scope, receive, response.send)
            finally:
                self._report(path, state, response, started_ns)
                span.set("tidegate.outcome", response.outcome(None))
                span.set("tidegate.caller", DEFAULT_CALLER.label)
                span.set(STATUS, response.status)
                if denial.cause is not None:
                    span.set("tidegate.cause", denial.cause)

    async def _end_drained(self, scope: Scope, receive: Receive, response: "_RecordedResponse") -> None:
        """Ends a call after the grace period of a shutdown: with a 503 if its response has not started.

        Raises:
            CancelledError: the service is not shutting down, so something else cancelled the call.
        """
        if not self._services.draining:
            raise asyncio.CancelledError
        if not scope["state"].get("started"):
            await _denial_response(_DRAINING, scope)(scope, receive, response.send)

    def _report(self, path: str, state: Mapping[str, Any], response: "_RecordedResponse", started_ns: int) -> None:
        """Reports the end of a call, and a refusal before its pool was known."""
        observer = self._services.observer
        if observer is None:
            return
        caller = state.get("caller", DEFAULT_CALLER)
        late_problem: Problem | None = state.get("late_problem")
        refusal, pool = response.refusal(late_problem), state.get("pool", "")
        if refusal is not None and (not pool or refusal is Cause.UPSTREAM_CREDENTIALS):
            observer.event(RefusedCall(pool, caller, refusal))  # the admission reports all other refusals
        if path.startswith(_CALLS):
            meter: GenerationMeter = state.get("meter") or GenerationMeter(self._services.clock)
            problem: Problem | None = late_problem or state.get("problem")
            observer.event(
                RequestFinished(
                    route=route_of(path) if path.startswith("/v1/") else path,
                    pool=pool,
                    caller=caller,
                    outcome=_call_outcome(response, state),
                    duration_ns=self._services.clock.monotonic_ns() - started_ns,
                    request_id=state["request_id"],
                    model=state.get("model", ""),
                    status=response.status if late_problem is None else late_problem.status,
                    cause=refusal,
                    queue_wait_ns=meter.queue_wait_ns,
                    attempts=meter.attempts,
                    usage=state.get("usage"),
                    exemplar=state.get("exemplar"),
                    upstream_request_id="" if problem is None else problem.upstream_request_id,
                )
            )


def _call_outcome(response: "_RecordedResponse", state: Mapping[str, Any]) -> str:
    """The value of `RequestFinished.outcome` of a call of the API."""
    late_problem: Problem | None = state.get("late_problem")
    problem: Problem | None = late_problem or state.get("problem")
    outcome = response.outcome(late_problem)
    return problem.outcome if problem is not None and problem.outcome and outcome != "abandoned" else outcome


class _RecordedResponse:
    """Sends a response with the header fields that all responses have, and records its outcome.

    Attributes:
        status: the status that was sent; 0 before.
    """

    def __init__(self, services: Services, path: str, state: dict[str, Any], send: Send) -> None:
        self._services = services
        self._path = path
        self._state = state
        self._send = send
        self.status = 0
        self._cause: str | None = None
        self._complete = False

    async def send(self, message: Message) -> None:
        """Sends an ASGI message of the response."""
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            known = dict(headers)
            headers += [field for field in self._own_headers(known) if field[0] not in known]
            message["headers"] = headers
            self.status = message["status"]
            self._state["started"] = True
            cause = known.get(_CAUSE)
            self._cause = None if cause is None else cause.decode("latin-1")
        else:
            self._complete = not message.get("more_body", False)
            if self._complete and self._path.startswith(_CALLS):
                self._describe_span()
        await self._send(message)

    def _describe_span(self) -> None:
        """Sets on the server span what spans of `/v1` have, too."""
        late_problem: Problem | None = self._state.get("late_problem")
        caller: Caller = self._state.get("caller", DEFAULT_CALLER)
        set_span_attribute("tidegate.caller", caller.label)
        set_span_attribute("tidegate.outcome", _call_outcome(self, self._state))
        if pool := self._state.get("pool", ""):
            set_span_attribute("tidegate.pool", pool)
        if (refusal := self.refusal(late_problem)) is not None:
            set_span_attribute("tidegate.cause", refusal)

    def refusal(self, late_problem: Problem | None) -> Cause | None:
        """The cause if Tidegate refused the call. A problem that occurred after the status was sent overrides it."""
        cause = self._cause if late_problem is None else late_problem.headers.get(TIDEGATE_CAUSE)
        return None if cause is None else Cause(cause)

    def outcome(self, late_problem: Problem | None) -> str:
        """The value of `RequestFinished.outcome`. A late problem overrides the status."""
        status = self.status if late_problem is None else late_problem.status
        if not self._complete or status == CLIENT_CLOSED_REQUEST:
            return "abandoned"
        if status < 400:
            return "ok"
        if self.refusal(late_problem) is not None:
            return "refused"
        return "client_error" if status < 500 else "upstream_error"

    def _own_headers(self, known: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Header fields of every response that does not have them already."""
        yield _REQUEST_ID, self._state["request_id"].encode()
        if self._services.upstream_kind != "claude":
            yield _UPSTREAM, self._services.upstream_kind.encode()
        # When a stream starts, its figures are unknown; its last event has them.
        is_stream = known.get(b"content-type", b"").startswith(b"text/event-stream")
        if _QUEUE_MS not in known and self._path.startswith(_CALLS) and not is_stream:
            meter: GenerationMeter = self._state.get("meter") or GenerationMeter(self._services.clock)
            yield _QUEUE_MS, b"%d" % meter.queued_ms
            yield _ATTEMPTS, b"%d" % meter.attempts


def _route(path: str) -> str:
    """The route of a call, a value of a closed set."""
    if path.startswith("/v1/"):
        return route_of(path)
    return path if path in ROUTES else OTHER


@dataclass(slots=True)
class _BodyMemory:
    """Bytes of all request bodies under `/api` in memory."""

    used: int = 0


class _Body:
    """Limits the size of one request body and of all bodies together. FastAPI reads a body into memory."""

    def __init__(self, receive: Receive, max_bytes: int, held: _BodyMemory) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._held = held
        self._bytes = 0

    async def receive(self) -> Message:
        """Receives an ASGI message. Beyond a limit it raises an `HTTPException`, which FastAPI handles."""
        message = await self._receive()
        part_bytes = len(message.get("body", b""))
        self._bytes += part_bytes
        self._held.used += part_bytes
        if self._bytes > self._max_bytes:
            raise HTTPException(413, f"the body is longer than the allowed {self._max_bytes} bytes")
        max_held_bytes = _MAX_HELD_BODIES * self._max_bytes
        if self._held.used > max_held_bytes:
            detail = f"all request bodies together exceed {max_held_bytes:,} bytes"
            headers = {TIDEGATE_CAUSE: Cause.QUEUE_FULL, SHOULD_RETRY: "true", RETRY_AFTER: "1"}
            raise HTTPException(CAUSES[Cause.QUEUE_FULL].status, detail, headers)
        return message

    def release(self) -> None:
        """Subtracts the body from the memory in use."""
        self._held.used -= self._bytes
        self._bytes = 0


def _denial_response(denial: Denial, scope: Scope) -> Response:
    """The response to a denied request, in the error format of its route."""
    request_id = scope["state"]["request_id"]
    if not scope["path"].startswith("/v1/"):
        return problem_of(AccessDenied(denial)).response(request_id)
    if denial.cause is None:
        return _api_error(InvalidCall(denial.message, status=denial.status), request_id)
    return _starlette_response(refused(Refusal(denial.cause, denial.message), request_id, dict(scope["headers"])))


def _api_error(error: InvalidCall, request_id: str) -> Response:
    return _starlette_response(invalid(error, request_id))


def _starlette_response(local: LocalResponse) -> Response:
    response = Response(local.body, local.status)
    response.raw_headers = list(local.headers)
    return response
