"""Handlers of skills and of Managed Agents: objects that are stored as they were given. Nothing runs.

Source: the Anthropic Python SDK 2.13.0 (`resources/skills`, `resources/beta`). A list is paged by opaque tokens.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from claude_simulator.errors import invalid_request
from claude_simulator.http.asgi import Response, json_response
from claude_simulator.http.multipart import boundary_of, read_form
from claude_simulator.http.routing import MAX_FILE_BYTES, Exchange, Handler
from claude_simulator.limits.headers import rfc3339
from claude_simulator.requests.validation import parse_json


@dataclass(frozen=True, slots=True)
class _Kind:
    """The objects of a collection: the prefix of their ids, their type, and the objects inside of them."""

    prefix: str
    type: str
    inner: dict[str, "_Kind"] = field(default_factory=dict)


_KINDS: Final = {
    "skills": _Kind("skill", "skill", {"versions": _Kind("skver", "skill_version")}),
    "agents": _Kind("agent", "agent", {"versions": _Kind("agver", "agent")}),
    "sessions": _Kind(
        "sesn",
        "session",
        {
            "events": _Kind("sevt", "user.message"),
            "resources": _Kind("sesrsc", "file"),
            "threads": _Kind("sthr", "session_thread"),
        },
    ),
    "environments": _Kind("env", "environment", {"work": _Kind("work", "work")}),
    "vaults": _Kind("vlt", "vault", {"credentials": _Kind("vcrd", "vault_credential")}),
    "memory_stores": _Kind(
        "memstore",
        "memory_store",
        {"memories": _Kind("mem", "memory"), "memory_versions": _Kind("memver", "memory_version")},
    ),
    "deployments": _Kind("depl", "deployment"),
    "deployment_runs": _Kind("drun", "deployment_run"),
    "dreams": _Kind("drm", "dream"),
    "user_profiles": _Kind("uprof", "user_profile"),
    "tunnels": _Kind("tnl", "tunnel", {"certificates": _Kind("tcrt", "tunnel_certificate")}),
}
_ACTIONS: Final = {"archive": "archived_at", "cancel": "canceled_at", "pause": "paused_at", "unpause": "unpaused_at"}
"""Each sets a member to the time."""


def object_routes() -> dict[str, dict[str, Handler]]:
    """The routes of all collections."""
    table: dict[str, dict[str, Handler]] = {}
    for name, kind in _KINDS.items():
        table[f"/v1/{name}"] = {"POST": _create, "GET": _list}
        table[f"/v1/{name}/{{}}"] = {"GET": _show, "POST": _update, "DELETE": _delete}
        table |= {f"/v1/{name}/{{}}/{action}": {"POST": _update} for action in _ACTIONS}
        for inner in kind.inner:
            table[f"/v1/{name}/{{}}/{inner}"] = {"POST": _create, "GET": _list}
            table[f"/v1/{name}/{{}}/{inner}/{{}}"] = {"GET": _show, "POST": _update, "DELETE": _delete}
    table["/v1/deployments/{}/run"] = {"POST": _run}
    del table["/v1/deployment_runs"]["POST"]
    return table


async def _create(exchange: Exchange) -> Response:
    collection, kind = _collection(exchange, exchange.ids)
    return json_response(_add(exchange, collection, kind, await _members(exchange)))


async def _list(exchange: Exchange) -> Response:
    collection, _ = _collection(exchange, exchange.ids)
    items = exchange.state.objects.listing(collection)
    wanted = exchange.query.get("deployment_id")
    if wanted is not None:
        items = [item for item in items if item.get("deployment_id") == wanted]
    return json_response(_page(exchange, items))


async def _show(exchange: Exchange) -> Response:
    return json_response(_found(exchange))


async def _update(exchange: Exchange) -> Response:
    """Changes members; also archives, cancels and pauses."""
    found = _found(exchange)
    action = exchange.path.rsplit("/", 1)[-1]
    if action in _ACTIONS:
        await exchange.read()
        found[_ACTIONS[action]] = rfc3339(exchange.state.clock.wall_seconds())
    else:
        found.update(await _members(exchange))
    return json_response(found)


async def _delete(exchange: Exchange) -> Response:
    found = _found(exchange)
    collection, kind = _collection(exchange, exchange.ids[:-1])
    exchange.state.objects.remove(collection, found["id"])
    return json_response({"id": found["id"], "type": f"{kind.type}_deleted"})


async def _run(exchange: Exchange) -> Response:
    """Runs a deployment: creates a session and the record of the run."""
    await exchange.read()
    deployment = exchange.state.objects.find("deployments", exchange.ids[0])
    by = {"deployment_id": deployment["id"]}
    session = _add(exchange, "sessions", _KINDS["sessions"], by)
    run = {**by, "session_id": session["id"], "error": None}
    return json_response(_add(exchange, "deployment_runs", _KINDS["deployment_runs"], run))


def _add(exchange: Exchange, collection: str, kind: _Kind, members: dict[str, Any]) -> dict[str, Any]:
    now = rfc3339(exchange.state.clock.wall_seconds())
    fixed = {"id": exchange.state.new_id(kind.prefix), "type": kind.type, "created_at": now, "updated_at": now}
    info = {**members, **fixed, "source": "custom"} if kind.type == "skill" else {**members, **fixed}
    exchange.state.objects.add(collection, info)
    return info


async def _members(exchange: Exchange) -> dict[str, Any]:
    """The members of a JSON body, or the names of the files in a form."""
    content_type = exchange.headers.get("content-type", "")
    if not content_type.startswith("multipart/"):
        return parse_json((await exchange.read()).body)
    form = read_form(exchange.chunks(MAX_FILE_BYTES), boundary_of(content_type))
    return {"files": sorted({part.filename async for part, _ in form if part.filename})}


def _found(exchange: Exchange) -> dict[str, Any]:
    """The object that the last id of the path names. It is in an object that exists."""
    collection, _ = _collection(exchange, exchange.ids[:-1])
    return exchange.state.objects.find(collection, exchange.ids[-1])


def _collection(exchange: Exchange, owners: Sequence[str]) -> tuple[str, _Kind]:
    """The collection that a path names, of all, or of the object `owners`.

    Raises:
        ApiError: 404, there is no such object.
    """
    parts = exchange.path.split("/")
    kind = _KINDS[parts[2]]
    if not owners:
        return parts[2], kind
    exchange.state.objects.find(parts[2], owners[0])
    return f"{parts[2]}/{owners[0]}/{parts[4]}", kind.inner[parts[4]]


def _page(exchange: Exchange, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The wanted page. Its token names the last object of the page before, and also where that was."""
    start, limit, token = 0, exchange.page_limit(), exchange.query.get("page")
    if token is not None:
        ids = [item["id"] for item in items]
        last, number = _read_token(token)
        start = ids.index(last) + 1 if last in ids else number
    chosen = items[start : start + limit]
    more = start + limit < len(items)
    return {"data": list(chosen), "next_page": _token(chosen[-1]["id"], start + limit - 1) if more else None}


def _token(last: str, number: int) -> str:
    return "page_" + base64.urlsafe_b64encode(f"{number}:{last}".encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        number, _, last = base64.urlsafe_b64decode(token.removeprefix("page_")).decode().partition(":")
        return last, int(number)
    except ValueError:
        raise invalid_request(f"page: {token[:80]!r} was given; the `next_page` of a list is allowed") from None
