"""The simulated Claude API as an ASGI application."""

import json
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_KEY, API_VERSION, AUTHORIZATION, ORGANIZATION_ID, REQUEST_ID
from claude_simulator.http.asgi import ClientGoneError, Reply, error_reply, request_headers, send_reply
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
from claude_simulator.http.messages import answer_count_tokens, answer_messages, forced_reply
from claude_simulator.http.paging import page_of
from claude_simulator.http.routing import MAX_FILE_BYTES, Handler, Routes, Visit
from claude_simulator.http.seen import SeenRequest
from claude_simulator.options import Clock, SimulatorOptions, SystemClock
from claude_simulator.requests.models import MODELS, find_model
from claude_simulator.requests.validation import API_VERSIONS
from claude_simulator.world import ORGANIZATION, World

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SIMULATED_HEADER: Final = "x-simulated"
"""On every answer: nobody shall take it for the real API's."""


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
        headers = request_headers(scope)
        seen = SeenRequest(scope, receive)
        if not scope["path"].startswith("/simulator/"):
            self._world.seen.append(seen)
        if self._world.options.compression:
            send = Compressed(send, headers)
        common = {
            "date": formatdate(self._world.clock.wall_seconds(), usegmt=True),
            REQUEST_ID: request_id,
            ORGANIZATION_ID: ORGANIZATION,
            SIMULATED_HEADER: "true",
        }
        visit = Visit(
            self._world,
            scope["path"],
            headers,
            dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            (),
            request_id,
            common,
            f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}",
            seen.receive,
            send,
        )
        try:
            reply = await self._reply(scope["method"], visit)
        except ClientGoneError:
            return
        except ApiError as error:
            reply = error_reply(error, request_id)
        except RecursionError:
            reply = error_reply(invalid_request("The request is nested too deeply"), request_id)
        if reply is not None:
            self._world.answers_by_status[reply.status] += 1
            await send_reply(send, reply, common)

    async def _reply(self, method: str, visit: Visit) -> Reply | None:
        handler, ids = _ROUTES.find(method, visit.path)
        if visit.path.startswith("/v1/"):
            self._check_key(visit.headers)
            _check_version(visit.headers)
            if handler is not _messages:
                forced = forced_reply(self._world, visit.headers, visit.request_id)
                if forced is not None:
                    async for _ in visit.chunks(MAX_FILE_BYTES):  # whoever uploads is not cut off
                        pass
                    return forced
        return await handler(replace(visit, ids=ids))

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


async def _messages(visit: Visit) -> Reply | None:
    return await answer_messages(visit.world, await visit.call(), visit.receive, visit.send, visit.common)


async def _count_tokens(visit: Visit) -> Reply:
    return answer_count_tokens(visit.world, await visit.call())


async def _models(visit: Visit) -> Reply:
    return _json(page_of(visit, [model.info() for model in MODELS.values()]))


async def _model(visit: Visit) -> Reply:
    return _json(find_model(visit.ids[0]).info())


async def _state(visit: Visit) -> Reply:
    return show_state(visit.world)


async def _requests(visit: Visit) -> Reply:
    return show_requests(visit.world)


async def _add_fault(visit: Visit) -> Reply:
    return add_fault(visit.world, (await visit.call()).body)


async def _clear_faults(visit: Visit) -> Reply:
    return clear_faults(visit.world)


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())


_TABLE: Final[dict[str, dict[str, Handler]]] = {
    "/v1/messages": {"POST": _messages},
    "/v1/messages/count_tokens": {"POST": _count_tokens},
    "/v1/messages/batches": {"POST": create_batch, "GET": list_batches},
    "/v1/messages/batches/{}": {"GET": show_batch, "DELETE": delete_batch},
    "/v1/messages/batches/{}/cancel": {"POST": cancel_batch},
    "/v1/messages/batches/{}/results": {"GET": batch_results},
    "/v1/models": {"GET": _models},
    "/v1/models/{}": {"GET": _model},
    "/v1/files": {"POST": upload_file, "GET": list_files},
    "/v1/files/{}": {"GET": show_file, "DELETE": delete_file},
    "/v1/files/{}/content": {"GET": download_file},
    "/simulator/faults": {"POST": _add_fault, "DELETE": _clear_faults},
    "/simulator/requests": {"GET": _requests},
    "/simulator/state": {"GET": _state},
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
