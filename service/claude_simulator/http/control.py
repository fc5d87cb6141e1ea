"""The control routes: `POST` and `DELETE /simulator/faults`, `GET /simulator/state`, `GET /simulator/requests`."""

from claude_simulator.errors import invalid_request
from claude_simulator.http.asgi import Response, json_response
from claude_simulator.http.routing import Exchange
from claude_simulator.http.state import SimulatorState
from claude_simulator.requests.validation import parse_json
from claude_simulator.scenarios.faults import fault_from


async def add_fault(exchange: Exchange) -> Response:
    """Adds the fault that a JSON body describes, and lists all faults in force.

    Raises:
        ApiError: 400; the message names the field, the value and what is allowed. Nothing is changed then.
    """
    received = await exchange.read()
    try:
        exchange.state.faults.add(fault_from(parse_json(received.body)), exchange.state.now_seconds())
    except ValueError as error:
        raise invalid_request(str(error)) from None
    return _faults(exchange.state)


async def clear_faults(exchange: Exchange) -> Response:
    """Removes every fault."""
    exchange.state.faults.clear()
    return _faults(exchange.state)


async def show_state(exchange: Exchange) -> Response:
    """Shows what each pool was charged, what remains, and what is in flight. Unused pools are left out."""
    state = exchange.state
    now_seconds = state.advance()
    pools = {
        name: {
            "requests": pool.own.requests,
            "input_tokens": pool.own.input_tokens,
            "output_tokens": round(pool.own.output_tokens(now_seconds)),
            "rate_limited": pool.own.rate_limited,
            "in_flight": pool.own.in_flight,
            "remaining": {
                dimension.value: round(dimension_state.remaining, 3)
                for dimension, dimension_state in pool.state(now_seconds).items()
            },
        }
        for name, pool in state.pools.items()
        if pool.own.requests or pool.own.rate_limited
    }
    return json_response(
        {
            "pools": pools,
            "responses_by_status": {str(status): count for status, count in sorted(state.responses_by_status.items())},
            "in_flight": sum(pool.own.in_flight for pool in state.pools.values()),
            "cached_prefixes": len(state.cache),
            "faults": state.faults.listing(now_seconds),
        }
    )


async def show_requests(exchange: Exchange) -> Response:
    """Shows the latest requests as received, oldest first; keys are left out."""
    return json_response({"requests": [record.to_json() for record in exchange.state.recent_requests]})


def _faults(state: SimulatorState) -> Response:
    return json_response({"faults": state.faults.listing(state.now_seconds())})
