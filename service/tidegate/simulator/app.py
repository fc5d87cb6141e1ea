"""The simulated Claude API as an ASGI application."""

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from tidegate.core.header_names import API_KEY, API_VERSION, AUTHORIZATION, ORGANIZATION_ID, REQUEST_ID
from tidegate.simulator.asgi import (
    Call,
    ClientGoneError,
    Reply,
    error_reply,
    read_body,
    request_headers,
    send_reply,
)
from tidegate.simulator.control import clear_faults, show_state, tell_fault
from tidegate.simulator.errors import ApiError, invalid_request
from tidegate.simulator.messages import answer_count_tokens, answer_messages
from tidegate.simulator.models import find_model, list_models
from tidegate.simulator.options import Clock, SimulatorOptions, SystemClock
from tidegate.simulator.validation import API_VERSIONS
from tidegate.simulator.world import ORGANIZATION, World

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SIMULATED_HEADER: Final = "x-simulated"
"""On every answer: nobody shall take it for the real API's."""

_METHODS: Final = {
    "/v1/messages": ("POST",),
    "/v1/messages/count_tokens": ("POST",),
    "/v1/models": ("GET",),
    "/simulator/faults": ("POST", "DELETE"),
    "/simulator/state": ("GET",),
}
_MODEL_PATH: Final = "/v1/models/"
_MAX_PAGE: Final = 1000


def create_app(options: SimulatorOptions | None = None, *, clock: Clock | None = None) -> "ASGIApp":
    """A simulated Claude API with state of its own.

    Args:
        options: Limits, latency, faults and the rest; None takes the defaults.
        clock: Where time comes from; None takes the system's. All waiting goes through `asyncio.sleep`.
    """
    return _App(World(options or SimulatorOptions(), clock or SystemClock()))


class _App:
    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case _:  # a websocket; ASGI has no other kind
                await send({"type": "websocket.close"})

    async def _http(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        request_id = self._world.new_id("req")
        common = {REQUEST_ID: request_id, ORGANIZATION_ID: ORGANIZATION, SIMULATED_HEADER: "true"}
        try:
            reply = await self._reply(scope, receive, send, common)
        except ClientGoneError:
            return
        except ApiError as error:
            reply = error_reply(error, request_id)
        except RecursionError:
            reply = error_reply(invalid_request("The request is nested too deeply"), request_id)
        if reply is not None:
            self._world.answers_by_status[reply.status] += 1
            await send_reply(send, reply, common)

    async def _reply(self, scope: "Scope", receive: "Receive", send: "Send", common: dict[str, str]) -> Reply | None:
        path, method = scope["path"], scope["method"]
        allowed = ("GET",) if path.startswith(_MODEL_PATH) else _METHODS.get(path)
        if allowed is None:
            raise ApiError(404, "not_found_error", f"Not found: {path}")
        if method not in allowed:
            raise ApiError(405, "invalid_request_error", f"Method {method} is not allowed; {', '.join(allowed)} is")
        headers = request_headers(scope)
        if path.startswith("/v1/"):
            self._check_key(headers)
            _check_version(headers)
        body = await read_body(receive, headers, limit_bytes=self._world.options.max_body_bytes)
        call = Call(headers, body, common[REQUEST_ID])
        match path:
            case "/v1/messages":
                return await answer_messages(self._world, call, receive, send, common)
            case "/v1/messages/count_tokens":
                return answer_count_tokens(self._world, call)
            case "/v1/models":
                return _json(_model_page(scope["query_string"].decode("latin-1")))
            case "/simulator/state":
                return show_state(self._world)
            case "/simulator/faults":
                return tell_fault(self._world, body) if method == "POST" else clear_faults(self._world)
            case _:
                return _json(find_model(path.removeprefix(_MODEL_PATH)).info())

    def _check_key(self, headers: dict[str, str]) -> None:
        scheme, _, token = headers.get(AUTHORIZATION, "").partition(" ")
        key = headers.get(API_KEY) or (token.strip() if scheme.lower() == "bearer" else "")
        if not key:
            raise ApiError(401, "authentication_error", f"{API_KEY} or {AUTHORIZATION}: Bearer header is required")
        options = self._world.options
        if key in options.rejected_keys or (options.accepted_keys is not None and key not in options.accepted_keys):
            raise ApiError(401, "authentication_error", f"invalid {API_KEY}")


def _check_version(headers: dict[str, str]) -> None:
    version = headers.get(API_VERSION)
    if version is None:
        raise invalid_request(f"{API_VERSION}: header is required")
    if version not in API_VERSIONS:
        allowed = " or ".join(API_VERSIONS)
        raise invalid_request(f"{API_VERSION}: {version!r} was given; {allowed} is allowed")


def _model_page(query: str) -> dict[str, Any]:
    parameters = parse_qs(query)
    limit = parameters.get("limit", ["20"])[-1]
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= _MAX_PAGE):
        raise invalid_request(f"limit: {limit[:40]!r} was given; a whole number from 1 to {_MAX_PAGE} is allowed")
    return list_models(limit=int(limit), after_id=parameters.get("after_id", [None])[-1])


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())


async def _lifespan(receive: "Receive", send: "Send") -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
