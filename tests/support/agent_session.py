"""A load of coding agents: turns of parallel streams with a growing prompt, many of which are cancelled.

A turn is a main call and up to four others (subagents, a title, a summary). Streams are cancelled before or within
their response, as by a user who interrupts, or by a result that makes the others unnecessary.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

WISHES = ("explain the parser", "write more tests", "edit_file the README", "why does it fail?")
"""Prompts; one that names the tool gets a tool call."""
MODELS = ("claude-sonnet-5-5", "claude-haiku-5-5")
TOOL = {"name": "edit_file", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
SYSTEM = [{"type": "text", "text": "You edit programs. " * 400, "cache_control": {"type": "ephemeral"}}]
CANCELLED_SHARE = 0.4
MOST_BESIDE = 4
_KEEPS_TURNS = 10


@dataclass
class Outcomes:
    """The ends of the streams of a session, and the maximum number of concurrent streams."""

    ended: Counter[str] = field(default_factory=Counter)
    most_at_a_time: int = 0
    at_a_time: int = 0

    def __enter__(self) -> None:
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)

    def __exit__(self, *_: object) -> None:
        self.at_a_time -= 1


async def agents(
    url: str, *, number: int, turns_each: int, seed: int, early_share: float = 0.5, key: str = "any"
) -> Outcomes:
    """Run agents concurrently, each with its own connections.

    `early_share` of the cancelled streams end at a random time, mostly before the response starts.
    """
    outcomes = Outcomes()
    async with asyncio.TaskGroup() as group:
        for each in range(number):
            group.create_task(_agent(url, turns_each, _numbers(seed, each), outcomes, key, early_share))
    return outcomes


def _numbers(seed: int, agent: int) -> random.Random:
    return random.Random(f"{seed}/{agent}")  # noqa: S311 - the same session each time


async def _agent(url: str, turns: int, rng: random.Random, outcomes: Outcomes, key: str, early_share: float) -> None:
    headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
    history: list[dict[str, Any]] = []
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:
        for turn in range(turns):
            history.append({"role": "user", "content": f"Turn {turn}: {rng.choice(WISHES)}"})
            beside = rng.randrange(MOST_BESIDE + 1)
            streams = [_stream(http, history, rng, outcomes, early_share) for _ in range(1 + beside)]
            await asyncio.gather(*streams)
            history.append({"role": "assistant", "content": "Done."})
            del history[: -2 * _KEEPS_TURNS]


async def _stream(
    http: aiohttp.ClientSession,
    history: list[dict[str, Any]],
    rng: random.Random,
    outcomes: Outcomes,
    early_share: float,
) -> None:
    body = {
        "model": rng.choice(MODELS),
        "max_tokens": rng.choice([200, 4_000]),
        "system": SYSTEM,
        "tools": [TOOL],
        "messages": history,
        "stream": True,
    }
    headers = {"x-simulator-output-tokens": str(rng.randrange(5, 150))}
    leaves_after_events: int | None = None
    leaves_after_seconds: float | None = None
    if rng.random() < CANCELLED_SHARE:
        if rng.random() < early_share:
            leaves_after_seconds = rng.uniform(0, 0.03)
        else:
            leaves_after_events = rng.randrange(2, 30)
    with outcomes:
        try:
            async with asyncio.timeout(leaves_after_seconds):
                ended = await _read(http, body, headers, leaves_after_events)
        except TimeoutError:
            ended = "left early"
    outcomes.ended[ended] += 1


async def _read(http: aiohttp.ClientSession, body: Any, headers: dict[str, str], most_events: int | None) -> str:
    events = 0
    data = json.dumps(body)
    async with http.post("/v1/messages", data=data, headers={"content-type": "application/json", **headers}) as answer:
        if answer.status != 200:
            return f"status {answer.status}"
        async for line in answer.content:
            events += line.startswith(b"event: ")
            if events == most_events:
                answer.close()
                return "left in the middle"
            if line.startswith(b"event: message_stop"):
                await answer.read()
                return "whole"
    return "broken"
