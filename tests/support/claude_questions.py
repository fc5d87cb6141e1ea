"""Questions for a `ClaudeModel`, and slow answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from support.simulated_claude import SimulatedClaude
from support.virtual_time import run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.generation.model import ModelAnswer, Question
from tidegate.generation.prompts import system_prompt
from tidegate.generation.request import Progress, Tally
from tidegate.generation.structured import ENVELOPE_SCHEMA


def question(claude: SimulatedClaude, *, seconds: float = 600, **changes: Any) -> Question:
    """Return a question, with a deadline some seconds from now."""
    fields: dict[str, Any] = {
        "model": "claude-sonnet-5-5",
        "system": system_prompt(),
        "messages": ({"role": "user", "content": "Every hour, fetch the news"},),
        "schema": ENVELOPE_SCHEMA,
        "max_tokens": 4_000,
        "caller": DEFAULT_CALLER,
        "deadline_ns": claude.clock.monotonic_ns() + round(seconds * 1e9),
        **changes,
    }
    return Question(**fields)


def ask(
    claude: SimulatedClaude, *, seen: list[Progress] | None = None, tally: Tally | None = None, **changes: Any
) -> ModelAnswer:
    """Ask and wait for the answer on the virtual clock."""
    heard: list[Progress] = [] if seen is None else seen
    asked = claude.model.ask(question(claude, **changes), heard.append, Tally() if tally is None else tally)
    return run_virtual(asked, claude.clock)


def in_flight(claude: SimulatedClaude) -> list[int]:
    """Return the number of requests in flight of each pool."""
    return [pool.in_flight for pool in claude.store.snapshot_now()]


class SlowStream(httpx2.AsyncByteStream):
    """A hundred deltas, one every 100 ms (`ASGITransport` does not stream)."""

    def __init__(self, usage: dict[str, int] | None = None, *, begins_seconds: float = 0.0) -> None:
        self.usage = usage or {}
        self.begins_seconds = begins_seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(self.begins_seconds)
        usage = self.usage
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": usage}
        yield sse({"type": "message_start", "message": message})
        yield sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        for _ in range(100):
            await asyncio.sleep(0.1)
            yield sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}})
        yield sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}})
        yield sse({"type": "message_stop"})


def sse(event: dict[str, Any]) -> bytes:
    """Encode an event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
