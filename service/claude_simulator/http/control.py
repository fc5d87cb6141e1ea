"""The control routes: `POST` and `DELETE /simulator/faults`, `GET /simulator/state`, `GET /simulator/requests`."""

import json
from dataclasses import fields
from typing import Any, Final

from claude_simulator.errors import invalid_request
from claude_simulator.http.asgi import Reply
from claude_simulator.requests.validation import parse_json
from claude_simulator.scenarios.faults import Fault, fault_kind
from claude_simulator.world import World

_WHOLE: Final = {"count", "skip", "retry_after_seconds", "after_events"}
_NULLABLE: Final = {"count", "end_seconds"}
_FIELDS: Final = tuple(field.name for field in fields(Fault))


def tell_fault(world: World, raw: bytes) -> Reply:
    """Put the fault that a JSON body describes in force, and answer with all that are.

    Raises:
        ApiError: 400; the message names the field, what was given and what is allowed. Nothing is changed then.
    """
    try:
        world.faults.tell(fault_from_json(parse_json(raw)), world.now_seconds())
    except ValueError as error:
        raise invalid_request(str(error)) from None
    return _faults(world)


def clear_faults(world: World) -> Reply:
    """Take every fault back."""
    world.faults.clear()
    return _faults(world)


def show_state(world: World) -> Reply:
    """What was charged, by pool, what is left, and what is in flight. Pools that were never used are left out."""
    now_seconds = world.advance()
    pools = {
        name: {
            "requests": pool.own.requests,
            "input_tokens": pool.own.input_tokens,
            "output_tokens": round(pool.own.output_tokens(now_seconds)),
            "rate_limited": pool.own.rate_limited,
            "in_flight": pool.own.in_flight,
            "remaining": {
                dimension.value: round(state.remaining, 3) for dimension, state in pool.state(now_seconds).items()
            },
        }
        for name, pool in world.pools.items()
        if pool.own.requests or pool.own.rate_limited
    }
    return _reply(
        {
            "pools": pools,
            "answers_by_status": {str(status): count for status, count in sorted(world.answers_by_status.items())},
            "in_flight": sum(pool.own.in_flight for pool in world.pools.values()),
            "cached_prefixes": len(world.cache),
            "faults": world.faults.listing(now_seconds),
        }
    )


def show_requests(world: World) -> Reply:
    """The latest requests as they came, oldest first; keys are left out."""
    return _reply({"requests": [seen.shown() for seen in world.seen]})


def fault_from_json(body: dict[str, Any]) -> Fault:
    """A fault from its JSON form: `kind` and any other field of `Fault`.

    Raises:
        ValueError: A field is unknown, or its value is of the wrong type or outside its range.
    """
    unknown = sorted(body.keys() - set(_FIELDS))
    if unknown:
        raise ValueError(f"{unknown[0]}: no such field; allowed are {', '.join(_FIELDS)}")
    if "kind" not in body:
        raise ValueError("kind: Field required")
    for name, value in body.items():
        if name == "kind" or (value is None and name in _NULLABLE):
            continue
        what = "a whole number" if name in _WHOLE else "a number"
        if not _is_number(value, whole=name in _WHOLE):
            raise ValueError(f"{name}: {value!r} was given; {what} is allowed")
    return Fault(**{**body, "kind": fault_kind(body["kind"])})


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def _faults(world: World) -> Reply:
    return _reply({"faults": world.faults.listing(world.now_seconds())})


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())
