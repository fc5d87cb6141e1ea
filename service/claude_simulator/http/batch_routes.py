"""Handlers of `/v1/messages/batches…`."""

import json
from typing import Final

from claude_simulator.answers.batches import Batch, check_batch
from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_VERSION, BETA
from claude_simulator.http.asgi import Response, json_response
from claude_simulator.http.paging import page_of
from claude_simulator.http.routing import MAX_BATCH_BYTES, Exchange
from claude_simulator.requests.validation import parse_json

BATCH_SECONDS_HEADER: Final = "x-simulator-batch-seconds"
"""Seconds from the creation of a batch to its end; a header of the request that creates it."""


async def create_batch(exchange: Exchange) -> Response:
    """Creates a batch. Its requests are validated when it ends."""
    received = await exchange.read(most_bytes=MAX_BATCH_BYTES)
    now_seconds = exchange.state.clock.wall_seconds()
    batch = Batch(
        exchange.state.new_id("msgbatch"),
        check_batch(parse_json(received.body)),
        version=exchange.headers[API_VERSION],
        beta=BETA in exchange.headers,
        created_seconds=now_seconds,
        ends_seconds=now_seconds + _seconds(exchange),
    )
    exchange.state.batches.add(batch)
    return _shown(exchange, batch)


async def list_batches(exchange: Exchange) -> Response:
    """Lists a page of batches."""
    batches = exchange.state.batches.all(exchange.state.clock.wall_seconds())
    return json_response(page_of(exchange, [batch.info(exchange.url) for batch in batches]))


async def show_batch(exchange: Exchange) -> Response:
    """Shows a batch."""
    return _shown(exchange, _found(exchange))


async def cancel_batch(exchange: Exchange) -> Response:
    """Cancels a batch."""
    await exchange.read()
    batch = _found(exchange)
    batch.cancel(exchange.state.clock.wall_seconds())
    return _shown(exchange, batch)


async def delete_batch(exchange: Exchange) -> Response:
    """Deletes a batch that has ended."""
    batch = _found(exchange)
    exchange.state.batches.remove(batch)
    return json_response({"id": batch.id, "type": "message_batch_deleted"})


async def batch_results(exchange: Exchange) -> Response:
    """Sends the results of a batch that has ended, one JSON object per line."""
    batch = _found(exchange)
    if batch.ended_seconds is None:
        raise ApiError(404, "not_found_error", f"Batch {batch.id} has no results yet: it has not ended")
    lines = [json.dumps(result, separators=(",", ":")) + "\n" for result in batch.results()]
    return Response(200, "".join(lines).encode(), content_type="application/x-jsonl")


def _found(exchange: Exchange) -> Batch:
    return exchange.state.batches.find(exchange.ids[0], exchange.state.clock.wall_seconds())


def _shown(exchange: Exchange, batch: Batch) -> Response:
    return json_response(batch.info(exchange.url))


def _seconds(exchange: Exchange) -> float:
    given = exchange.headers.get(BATCH_SECONDS_HEADER)
    if given is None:
        return exchange.state.options.batch_seconds
    if not (given.isascii() and given.isdigit() and len(given) <= 6):
        raise invalid_request(f"{BATCH_SECONDS_HEADER}: {given[:40]!r} was given; a whole number from 0 is allowed")
    return float(given)
