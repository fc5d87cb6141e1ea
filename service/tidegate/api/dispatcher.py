"""The outer ASGI application: access rules, request ids, and who serves what. Plain ASGI: every request passes it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.api.access import access_request
from tidegate.api.meter import CallMeter
from tidegate.api.problems import CLIENT_CLOSED_REQUEST, AccessDenied, Problem, problem_of
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
from tidegate.core.domain.caller import DEFAULT_CALLER
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

__all__ = ["Dispatcher"]

_CALLS: Final = ("/api/", "/v1/")
"""What counts as a call in metrics; probes, scrapes and documentation do not."""
_PAGES: Final = frozenset({"/metrics", "/docs", "/openapi.json"})
_OWN_PATHS: Final = _PAGES | {"/", "/healthz", "/readyz"}
_OWN_FOLDERS: Final = ("/api/", "/docs/")
"""Any other path outside of `/v1` is taken for one that an SDK has called: its error has the API's shape."""
_CAUSE, _REQUEST_ID, _UPSTREAM, _QUEUE_MS, _ATTEMPTS = (
    name.encode()
    for name in (TIDEGATE_CAUSE, TIDEGATE_REQUEST_ID, TIDEGATE_UPSTREAM, TIDEGATE_QUEUE_MS, TIDEGATE_ATTEMPTS)
)
_MOST_HELD_BODIES: Final = 64
"""All bodies under `/api` together hold at most this many times the largest one that is allowed."""
_DRAINING: Final = Denial(CAUSES[Cause.DRAINING].status, "the service is about to stop", Cause.DRAINING)


class Dispatcher:
    """Sends `/v1/…` to the gateway and everything else, lifespan included, to the API; nothing is mounted.

    Each request gets an id, in `scope["state"]["request_id"]` and in the answer, and is checked by the access rules.
    In `scope["state"]`, the gateway finds its header fields by name, under `fields`, and under `is_draining` what
    tells whether the service is about to stop. Under `started` it says of a call that is cut off whether its answer had
    begun.
    """

    def __init__(self, services: Services, api: ASGIApp) -> None:
        self._services = services
        self._api = api
        self._held = _HeldBytes(_MOST_HELD_BODIES * services.settings.max_body_bytes)
        self._is_draining = lambda: services.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, request or lifespan."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        services, path = self._services, scope["path"]
        state = scope.setdefault("state", {})
        fields = state.get("fields")  # our own server has looked at them already
        if fields is None:
            fields = state["fields"] = dict(scope["headers"])
        state["is_draining"] = self._is_draining
        request_id = state["request_id"] = services.new_request_id()
        REQUEST_ID.set(request_id)  # for whatever is logged on the way
        denial = services.access.check(path, fields)
        del fields  # calls that wait need not keep them in memory
        if denial is not None:
            await self._deny(denial, scope, receive, _Answer(services, path, state, send))
        elif path.startswith("/v1/"):  # the gateway reports, limits and marks its answers by itself
            try:
                await services.gateway(scope, receive, send)
            except asyncio.CancelledError:
                await self._drained(scope, receive, _Answer(services, path, state, send))
        elif path not in _OWN_PATHS and not path.startswith(_OWN_FOLDERS):
            response = _api_error(no_such_path(path), request_id)
            await response(scope, receive, _Answer(services, path, state, send).send)
        elif (denial := self._page_denial(scope, path)) is not None:
            await self._deny(denial, scope, receive, _Answer(services, path, state, send))
        else:
            await self._serve(scope, receive, _Answer(services, path, state, send))

    def _page_denial(self, scope: Scope, path: str) -> Denial | None:
        """Why a request may not read metrics or documentation; None for all else."""
        if path not in _PAGES and not path.startswith("/docs/"):
            return None
        return self._services.access.check_page(access_request(self._services.access, scope))

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        started_ns = self._services.clock.monotonic_ns()
        body = _Body(receive, self._services.settings.max_body_bytes, self._held)
        try:
            await self._api(scope, body.receive, answer.send)
        except asyncio.CancelledError:
            await self._drained(scope, receive, answer)
        finally:
            body.drop()
            self._report(scope["path"], scope["state"], answer, started_ns)

    async def _deny(self, denial: Denial, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Answers what the access rules do not let in. A call has a span, as those have that come further."""
        path, state = scope["path"], scope["state"]
        started_ns = self._services.clock.monotonic_ns()
        observer = self._services.observer if path.startswith(_CALLS) else None
        described = described_call(scope, _route(path), state["fields"], state["request_id"])
        with scope_of(observer, ScopeKind.REQUEST, described) as span:
            state["exemplar"] = span.exemplar()
            try:
                await _denial_answer(denial, scope)(scope, receive, answer.send)
            finally:
                self._report(path, state, answer, started_ns)
                span.set("tidegate.outcome", answer.outcome(None))
                span.set("tidegate.caller", DEFAULT_CALLER.label)
                span.set(STATUS, answer.status)
                if denial.cause is not None:
                    span.set("tidegate.cause", denial.cause)

    async def _drained(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Once the grace period is over, what has begun breaks off; what has not is told to come back.

        Raises:
            CancelledError: the service goes on; it was something else that ended the call.
        """
        if not self._services.draining:
            raise asyncio.CancelledError
        if not scope["state"].get("started"):
            await _denial_answer(_DRAINING, scope)(scope, receive, answer.send)

    def _report(self, path: str, state: Mapping[str, Any], answer: "_Answer", started_ns: int) -> None:
        """Tells the observer how a call ended, and of a refusal that came before a pool was known."""
        observer = self._services.observer
        if observer is None:
            return
        caller = state.get("caller", DEFAULT_CALLER)
        late_problem: Problem | None = state.get("late_problem")
        refusal, pool = answer.refusal(late_problem), state.get("pool", "")
        if refusal is not None and (not pool or refusal is Cause.UPSTREAM_CREDENTIALS):
            observer.event(RefusedCall(pool, caller, refusal))  # others with a pool were reported by the admission
        if path.startswith(_CALLS):
            meter: CallMeter = state.get("meter") or CallMeter(self._services.clock)
            problem: Problem | None = late_problem or state.get("problem")
            outcome = answer.outcome(late_problem)
            if problem is not None and problem.rate_limited and outcome != "abandoned":
                outcome = "rate_limited"
            observer.event(
                RequestFinished(
                    route=route_of(path) if path.startswith("/v1/") else path,
                    pool=pool,
                    caller=caller,
                    outcome=outcome,
                    duration_ns=self._services.clock.monotonic_ns() - started_ns,
                    request_id=state["request_id"],
                    model=state.get("model", ""),
                    status=answer.status if late_problem is None else late_problem.status,
                    cause=refusal,
                    queued_ns=meter.queued_ns,
                    attempts=meter.attempts,
                    usage=state.get("usage"),
                    exemplar=state.get("exemplar"),
                )
            )


class _Answer:
    """One answer on its way: adds the headers that every answer carries, and remembers how it went.

    Attributes:
        status: the status that went out; 0 before.
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
        """Sends a message of the answer."""
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
        await self._send(message)

    def refusal(self, late_problem: Problem | None) -> Cause | None:
        """Why Tidegate refused, if it did; a problem that came when the status had gone out counts instead of it."""
        cause = self._cause if late_problem is None else late_problem.headers.get(TIDEGATE_CAUSE)
        return None if cause is None else Cause(cause)

    def outcome(self, late_problem: Problem | None) -> str:
        """A `RequestFinished.outcome`; a late problem counts likewise."""
        status = self.status if late_problem is None else late_problem.status
        if not self._complete or status == CLIENT_CLOSED_REQUEST:
            return "abandoned"
        if status < 400:
            return "ok"
        if self.refusal(late_problem) is not None:
            return "refused"
        return "client_error" if status < 500 else "upstream_error"

    def _own_headers(self, known: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        """What every answer carries, unless it has a field of that name already."""
        yield _REQUEST_ID, self._state["request_id"].encode()
        if self._services.upstream_kind != "claude":
            yield _UPSTREAM, self._services.upstream_kind.encode()
        # A stream's figures are not known when its head goes out; its last event has them.
        is_stream = known.get(b"content-type", b"").startswith(b"text/event-stream")
        if _QUEUE_MS not in known and self._path.startswith(_CALLS) and not is_stream:
            meter: CallMeter = self._state.get("meter") or CallMeter(self._services.clock)
            yield _QUEUE_MS, b"%d" % meter.queued_ms
            yield _ATTEMPTS, b"%d" % meter.attempts


def _route(path: str) -> str:
    """The route of a call, from a closed set."""
    if path.startswith("/v1/"):
        return route_of(path)
    return path if path in ROUTES else OTHER


@dataclass(slots=True)
class _HeldBytes:
    """Bytes of request bodies under `/api` that are in memory, and the most that may be."""

    most: int
    now: int = 0


class _Body:
    """The body of one request, bounded by itself and together with all others. FastAPI reads it whole."""

    def __init__(self, receive: Receive, most_bytes: int, held: _HeldBytes) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._held = held
        self._bytes = 0

    async def receive(self) -> Message:
        """As in ASGI; raises `HTTPException`, which FastAPI passes on from reading a body, beyond a bound."""
        message = await self._receive()
        part_bytes = len(message.get("body", b""))
        self._bytes += part_bytes
        self._held.now += part_bytes
        if self._bytes > self._most_bytes:
            raise HTTPException(413, f"the body is longer than the {self._most_bytes} bytes that are allowed here")
        if self._held.now > self._held.most:
            detail = f"request bodies hold {self._held.most:,} bytes already, more are not taken"
            headers = {TIDEGATE_CAUSE: Cause.QUEUE_FULL, SHOULD_RETRY: "true", RETRY_AFTER: "1"}
            raise HTTPException(CAUSES[Cause.QUEUE_FULL].status, detail, headers)
        return message

    def drop(self) -> None:
        """The body is not held any more."""
        self._held.now -= self._bytes
        self._bytes = 0


def _denial_answer(denial: Denial, scope: Scope) -> Response:
    """The denial as the clients of the route understand it."""
    request_id = scope["state"]["request_id"]
    if not scope["path"].startswith("/v1/"):
        return problem_of(AccessDenied(denial)).response(request_id)
    if denial.cause is None:
        return _api_error(InvalidCall(denial.message, status=denial.status), request_id)
    return _sent(refused(Refusal(denial.cause, denial.message), request_id, dict(scope["headers"])))


def _api_error(error: InvalidCall, request_id: str) -> Response:
    return _sent(invalid(error, request_id))


def _sent(answer: LocalResponse) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response
