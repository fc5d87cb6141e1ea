"""The simulated Claude API as an ASGI application."""

from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_KEY, API_VERSION, AUTHORIZATION, ORGANIZATION_ID, REQUEST_ID
from claude_simulator.http.asgi import (
    ClientGoneError,
    Response,
    error_response,
    json_response,
    request_headers,
    send_response,
)
from claude_simulator.http.batch_routes import (
    batch_results,
    cancel_batch,
    create_batch,
    delete_batch,
    list_batches,
    show_batch,
)
from claude_simulator.http.compression import Compressed
from claude_simulator.http.control import add_fault, clear_faults, show_requests, show_state
from claude_simulator.http.files import delete_file, download_file, list_files, show_file, upload_file
from claude_simulator.http.messages import answer_count_tokens, answer_messages, forced_response
from claude_simulator.http.objects import object_routes
from claude_simulator.http.paging import page_of
from claude_simulator.http.request_record import RequestRecord
from claude_simulator.http.routing import MAX_FILE_BYTES, Exchange, Handler, Routes
from claude_simulator.http.state import ORGANIZATION, SimulatorState
from claude_simulator.options import Clock, SimulatorOptions, SystemClock
from claude_simulator.requests.models import MODELS, find_model
from claude_simulator.requests.validation import API_VERSIONS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SIMULATED_HEADER: Final = "x-simulated"
"""On every response, to tell it from one of the real API."""


def create_app(options: SimulatorOptions | None = None, *, clock: Clock | None = None) -> "ASGIApp":
    """Creates a simulated Claude API as an ASGI application.

    Args:
        options: limits, latency, faults and more; None takes the defaults.
        clock: the source of time; None takes the system's. All waiting uses `asyncio.sleep`.
    """
    return _App(SimulatorState(options or SimulatorOptions(), clock or SystemClock()))


class _App:
    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case _:  # a websocket; ASGI has no other kind
                await send({"type": "websocket.close"})

    async def _http(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        request_id = self._state.new_id("req")
        headers = request_headers(scope)
        record = RequestRecord(scope, receive)
        if not scope["path"].startswith("/simulator/"):
            self._state.recent_requests.append(record)
        if self._state.options.compression:
            send = Compressed(send, headers)
        common = {
            "date": formatdate(self._state.clock.wall_seconds(), usegmt=True),
            REQUEST_ID: request_id,
            ORGANIZATION_ID: ORGANIZATION,
            SIMULATED_HEADER: "true",
        }
        exchange = Exchange(
            state=self._state,
            path=scope["path"],
            headers=headers,
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            ids=(),
            request_id=request_id,
            common=common,
            url=f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}",
            receive=record.receive,
            send=send,
        )
        try:
            response = await self._respond(scope["method"], exchange)
        except ClientGoneError:
            return
        except ApiError as error:
            response = error_response(error, request_id)
        except RecursionError:
            response = error_response(invalid_request("The request is nested too deeply"), request_id)
        if response is not None:
            self._state.responses_by_status[response.status] += 1
            await send_response(send, response, common)

    async def _respond(self, method: str, exchange: Exchange) -> Response | None:
        handler, ids = _ROUTES.find(method, exchange.path)
        if exchange.path.startswith("/v1/"):
            self._check_key(exchange.headers)
            _check_version(exchange.headers)
            if handler is not answer_messages:
                forced = forced_response(self._state, exchange.headers, exchange.request_id)
                if forced is not None:
                    async for _ in exchange.chunks(MAX_FILE_BYTES):  # read the body, so that an upload is not cut off
                        pass
                    return forced
        return await handler(replace(exchange, ids=ids))

    def _check_key(self, headers: dict[str, str]) -> None:
        scheme, _, token = headers.get(AUTHORIZATION, "").partition(" ")
        key = headers.get(API_KEY) or (token.strip() if scheme.lower() == "bearer" else "")
        if not key:
            raise ApiError(401, "authentication_error", f"{API_KEY} or {AUTHORIZATION}: Bearer header is required")
        options = self._state.options
        if key in options.rejected_keys or (options.accepted_keys is not None and key not in options.accepted_keys):
            raise ApiError(401, "authentication_error", f"invalid {API_KEY}")


def _check_version(headers: dict[str, str]) -> None:
    version = headers.get(API_VERSION)
    if version is None:
        raise invalid_request(f"{API_VERSION}: header is required")
    if version not in API_VERSIONS:
        allowed = " or ".join(API_VERSIONS)
        raise invalid_request(f"{API_VERSION}: {version!r} was given; {allowed} is allowed")


async def _models(exchange: Exchange) -> Response:
    return json_response(page_of(exchange, [model.info() for model in MODELS.values()]))


async def _model(exchange: Exchange) -> Response:
    return json_response(find_model(exchange.ids[0]).info())


_TABLE: Final[dict[str, dict[str, Handler]]] = {
    "/v1/messages": {"POST": answer_messages},
    "/v1/messages/count_tokens": {"POST": answer_count_tokens},
    "/v1/messages/batches": {"POST": create_batch, "GET": list_batches},
    "/v1/messages/batches/{}": {"GET": show_batch, "DELETE": delete_batch},
    "/v1/messages/batches/{}/cancel": {"POST": cancel_batch},
    "/v1/messages/batches/{}/results": {"GET": batch_results},
    "/v1/models": {"GET": _models},
    "/v1/models/{}": {"GET": _model},
    "/v1/files": {"POST": upload_file, "GET": list_files},
    "/v1/files/{}": {"GET": show_file, "DELETE": delete_file},
    "/v1/files/{}/content": {"GET": download_file},
    **object_routes(),
    "/simulator/faults": {"POST": add_fault, "DELETE": clear_faults},
    "/simulator/requests": {"GET": show_requests},
    "/simulator/state": {"GET": show_state},
}
_ROUTES: Final = Routes(_TABLE)


async def _lifespan(receive: "Receive", send: "Send") -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
