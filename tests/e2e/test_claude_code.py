"""Claude Code's main turn through the service while its subagents wait, with the headers that it sends."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from support.claude_code import WITHOUT_HINTS, captured
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator

FLOOD = 90
MAIN = captured(WITHOUT_HINTS)[0]
SUBAGENT = captured(WITHOUT_HINTS)[2]


async def send(http: aiohttp.ClientSession, headers: Mapping[str, str]) -> float:
    """Make a streamed call, and return its duration."""
    began = time.monotonic()
    body = {**MAIN.body, "max_tokens": 50, "messages": [{"role": "user", "content": "What is next?"}]}
    async with http.post(MAIN.target, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert b"message_stop" in await answer.read()
    return time.monotonic() - began


async def waiting(on: ServiceAndSimulator) -> float:
    return sum((await asyncio.to_thread(on.metrics, "tidegate_queue_depth")).values())


async def main_turn(on: ServiceAndSimulator) -> float:
    """Measure a main turn behind the calls of its subagents."""
    async with aiohttp.ClientSession(on.service.url, connector=aiohttp.TCPConnector(limit=0)) as http:
        flood = [
            asyncio.create_task(send(http, {**SUBAGENT.passing, "x-claude-code-agent-id": f"a{number % 9}"}))
            for number in range(FLOOD)
        ]
        async with asyncio.timeout(10):
            while await waiting(on) < FLOOD * 0.8:  # noqa: ASYNC110 - nothing tells of it from outside
                await asyncio.sleep(0.05)
        seconds = await send(http, MAIN.passing)
        assert sum(task.done() for task in flood) < FLOOD / 4, "most of them still wait"
        for task in flood:
            task.cancel()
        await asyncio.wait(flood)
        return seconds


def test_a_main_turn_does_not_wait_behind_its_own_subagents(tmp_path: Path) -> None:
    with service_and_simulator(tmp_path, variables={"TIDEGATE_POOL_REQUESTS_PER_MINUTE": "60"}) as on:
        seconds = asyncio.run(main_turn(on))
        assert seconds < 3  # 2 s for quota, and the response time; without ids more than a minute
        on.comes_to_rest()
        assert SUBAGENT.headers["x-claude-code-session-id"] not in str(on.metrics(r"tidegate_\w+"))
