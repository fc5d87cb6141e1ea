"""`/v1/messages/batches…`."""

import json
from typing import Any, Final

from claude_simulator.answers.batches import Batch, check_batch
from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_VERSION, BETA
from claude_simulator.http.asgi import Reply
from claude_simulator.http.paging import page_of
from claude_simulator.http.routing import MAX_BATCH_BYTES, Visit
from claude_simulator.requests.validation import parse_json

BATCH_SECONDS_HEADER: Final = "x-simulator-batch-seconds"
"""How long after it was made a batch ends, on the request that makes it."""


async def create_batch(visit: Visit) -> Reply:
    """Make a batch; its requests are judged when it ends."""
    call = await visit.call(most_bytes=MAX_BATCH_BYTES)
    now_seconds = visit.world.clock.wall_seconds()
    batch = Batch(
        visit.world.new_id("msgbatch"),
        check_batch(parse_json(call.body)),
        version=visit.headers[API_VERSION],
        beta=BETA in visit.headers,
        created_seconds=now_seconds,
        ends_seconds=now_seconds + _seconds(visit),
    )
    visit.world.batches.add(batch)
    return _shown(visit, batch)


async def list_batches(visit: Visit) -> Reply:
    """A page of all batches."""
    batches = visit.world.batches.all(visit.world.clock.wall_seconds())
    return _json(page_of(visit, [batch.info(visit.url) for batch in batches]))


async def show_batch(visit: Visit) -> Reply:
    """One batch."""
    return _shown(visit, _found(visit))


async def cancel_batch(visit: Visit) -> Reply:
    """Ask a batch to end."""
    await visit.call()
    batch = _found(visit)
    batch.cancel(visit.world.clock.wall_seconds())
    return _shown(visit, batch)


async def delete_batch(visit: Visit) -> Reply:
    """Forget a batch that has ended."""
    batch = _found(visit)
    visit.world.batches.remove(batch)
    return _json({"id": batch.id, "type": "message_batch_deleted"})


async def batch_results(visit: Visit) -> Reply:
    """The results of a batch that has ended, one JSON object a line."""
    batch = _found(visit)
    if batch.ended_seconds is None:
        raise ApiError(404, "not_found_error", f"Batch {batch.id} has no results yet: it has not ended")
    lines = [json.dumps(result, separators=(",", ":")) + "\n" for result in batch.results()]
    return Reply(200, "".join(lines).encode(), content_type="application/x-jsonl")


def _found(visit: Visit) -> Batch:
    return visit.world.batches.find(visit.ids[0], visit.world.clock.wall_seconds())


def _shown(visit: Visit, batch: Batch) -> Reply:
    return _json(batch.info(visit.url))


def _seconds(visit: Visit) -> float:
    given = visit.headers.get(BATCH_SECONDS_HEADER)
    if given is None:
        return visit.world.options.batch_seconds
    if not (given.isascii() and given.isdigit() and len(given) <= 6):
        raise invalid_request(f"{BATCH_SECONDS_HEADER}: {given[:40]!r} was given; a whole number from 0 is allowed")
    return float(given)


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())
