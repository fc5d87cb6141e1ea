"""The control routes: `POST` and `DELETE /simulator/faults`, `GET /simulator/state`, `GET /simulator/requests`."""

import json
from typing import Any

from claude_simulator.errors import invalid_request
from claude_simulator.http.asgi import Reply
from claude_simulator.requests.validation import parse_json
from claude_simulator.scenarios.faults import fault_from
from claude_simulator.world import World


def add_fault(world: World, raw: bytes) -> Reply:
    """Add the fault that a JSON body describes, and list all faults in force.

    Raises:
        ApiError: 400; the message names the field, the value and what is allowed. Nothing is changed then.
    """
    try:
        world.faults.add(fault_from(parse_json(raw)), world.now_seconds())
    except ValueError as error:
        raise invalid_request(str(error)) from None
    return _faults(world)


def clear_faults(world: World) -> Reply:
    """Remove every fault."""
    world.faults.clear()
    return _faults(world)


def show_state(world: World) -> Reply:
    """Show what each pool was charged, what remains, and what is in flight. Unused pools are left out."""
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
    """Show the latest requests as received, oldest first; keys are left out."""
    return _reply({"requests": [seen.shown() for seen in world.seen]})


def _faults(world: World) -> Reply:
    return _reply({"faults": world.faults.listing(world.now_seconds())})


def _reply(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())
