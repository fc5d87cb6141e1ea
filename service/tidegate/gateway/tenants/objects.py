"""Wraps the gateway: calls about objects see and change only those of their tenant."""

from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.errors import Refusal, forget_frames
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.relay.json_reading import json_object
from tidegate.gateway.tenants.cursors import Cursors
from tidegate.gateway.tenants.message_objects import MessageObjects
from tidegate.gateway.tenants.own_lists import OwnLists
from tidegate.gateway.tenants.own_pages import Item
from tidegate.gateway.tenants.responses import ReadResponse, lookup, readable
from tidegate.gateway.tenants.routes import ObjectRoute, object_route
from tidegate.gateway.tenants.tenants import Tenants, not_found
from tidegate.http.asgi import App, Message, Receive, Send
from tidegate.http.content_coding import Decoder, content_codings

__all__ = ["TenantObjects"]

_RUNS: Final = "deployment_runs"
_DREAMS: Final = "dreams"
_MADE_BY_OTHERS: Final = frozenset({"files", "sessions", _RUNS})
"""Collections whose objects may be created by another object: it owns them."""
_SUCCESS: Final = range(200, 300)
_ITEM: Final = msgspec.json.Decoder(Item).decode


class TenantObjects:
    """Wraps the gateway, for all routes but those of Messages.

    Args:
        gateway: the wrapped application. It refuses a call with the error that is in `scope["state"]["denied"]`.
        tenants: decides which objects a caller may use.
        cursors: make the cursors of filtered lists.
    """

    def __init__(self, gateway: App, tenants: Tenants, cursors: Cursors) -> None:
        self._gateway = gateway
        self._tenants = tenants
        self._lists = OwnLists(gateway, tenants, cursors)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP call."""
        state = scope.setdefault("state", {})
        route = object_route(scope["path"])
        try:
            caller = None if route is None else self._tenants.caller(state.get("fields") or dict(scope["headers"]))
        except Refusal:
            caller = None  # the gateway will refuse the call as well
        if caller is None or route is None:
            await self._gateway(scope, receive, send)
            return
        try:
            await self._serve(route, caller, scope, receive, send)
        except (InvalidCall, Refusal) as error:
            forget_frames(error)
            state["denied"] = error
            await self._gateway(scope, receive, send)

    async def _serve(self, route: ObjectRoute, caller: Caller, scope: Message, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if self._tenants.restricts(caller):
            if route.id:
                await self._check(route, caller, scope)
            elif method == "GET":
                await self._lists.serve(route, caller, scope, send)
                return
            elif method != "POST":  # no route is known that does something to a whole collection
                raise not_found(scope["path"])
        if _may_create(route, method):
            await self._create(route, caller, scope, receive, send)
        elif method == "DELETE" and not route.rest:
            await self._delete(route, scope, receive, send)
        elif method == "GET" and route.collection == "batches" and route.rest == "results":
            await self._read_results(route, scope, receive, send)
        else:
            await self._gateway(scope, receive, send)

    async def _check(self, route: ObjectRoute, caller: Caller, scope: Message) -> None:
        """Checks that the caller may use the object of a path; raises as `Tenants.check`.

        If it has no owner, but may have been created by an object that has one, the upstream says which that is.
        """
        try:
            await self._tenants.check(caller, [route.id])
        except InvalidCall:
            if route.collection not in _MADE_BY_OTHERS:
                raise
            query = b"beta=true" if b"beta=true" in scope["query_string"] else b""
            response = await lookup(self._gateway, scope, f"{route.root}/{route.id}", query)
            if not response.is_json:
                raise
            try:
                item = _ITEM(response.body())
            except msgspec.DecodeError:
                raise not_found(route.id) from None
            if item.name != route.id or not all(await self._tenants.are_own_items(caller, [item], route.collection)):
                raise

    async def _create(self, route: ObjectRoute, caller: Caller, scope: Message, receive: Receive, send: Send) -> None:
        """Records the owner of what a response names as created, before the client learns its id."""
        response = ReadResponse(send)
        await self._gateway(readable(scope), receive, response.send)
        if response.is_json and response.is_complete:
            body = json_object(response.body())
            if scope["method"] == "POST":
                await self._tenants.record(caller, _named(body, "id"))
            await self._tenants.inherit(str(body.get("id")), _produced(route, body))
        await response.relay(send)

    async def _delete(self, route: ObjectRoute, scope: Message, receive: Receive, send: Send) -> None:
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._gateway(scope, receive, send_and_note)
        if status in _SUCCESS:
            await self._tenants.forget(route.id)

    async def _read_results(self, route: ObjectRoute, scope: Message, receive: Receive, send: Send) -> None:
        """Relays the results of a batch. Files that they name belong to the owner of the batch."""
        objects = MessageObjects(partial(self._tenants.inherit, route.id))
        decoder: Decoder | None = None

        async def read_and_send(message: Message) -> None:
            nonlocal decoder
            if message["type"] == "http.response.start":
                with suppress(ValueError):  # a coding that was not asked for
                    decoder = Decoder(content_codings(message["headers"]))
            elif decoder is not None:
                with suppress(ValueError):  # the body does not match its coding
                    for piece in decoder.feed(message.get("body", b"")):
                        await objects.feed(piece)
                if not message.get("more_body", False):
                    await objects.end()
            await send(message)

        await self._gateway(scope, receive, read_and_send)


def _may_create(route: ObjectRoute, method: str) -> bool:
    """Whether the response to a call may name objects that exist because of it."""
    if method == "POST":
        return not route.id or (route.collection == "deployments" and route.rest == "run")
    return method == "GET" and bool(route.id) and not route.rest and route.collection in {_DREAMS, _RUNS}


def _named(body: dict[str, Any], *members: str) -> list[str]:
    """The ids in some members of a body."""
    return [each for each in map(body.get, members) if isinstance(each, str) and each]


def _produced(route: ObjectRoute, body: dict[str, Any]) -> list[str]:
    """The objects that the object in a response has created.

    The run of a deployment creates a session, and a dream creates a store of memories (Python SDK 2.13.0,
    `types/beta/beta_managed_agents_deployment_run.py`, `types/beta/beta_dream.py`).
    """
    if route.collection == _DREAMS and isinstance(body.get("outputs"), list):
        outputs = [output for output in body["outputs"] if isinstance(output, dict)]
        return [each for output in outputs for each in _named(output, "memory_store_id")]
    return _named(body, "session_id") if route.collection == _RUNS or route.rest == "run" else []
