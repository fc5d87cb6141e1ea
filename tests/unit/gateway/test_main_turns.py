"""The main turn of a Claude Code session beside its own subagents and other callers, on a virtual clock.

The requests are captured ones. They carry session and agent ids; class hints only where that is said.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import pytest

from support.asgi_client import Answer, call
from support.claude_code import WITH_HINTS, WITHOUT_HINTS, captured
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

pytestmark = pytest.mark.no_cover  # long simulations; other tests reach the same lines

POOLS: Final = {"opus-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=1)})}
BODY: Final = {**MESSAGE, "model": "claude-opus-5-5"}
FLOOD: Final = 90
TURNS: Final = 5
ANN, BOB = "key-of-ann", "key-of-bob"


def rig(clock: VirtualClock, priority: Priority = Priority.STANDARD) -> Rig:
    callers = [
        CallerSettings(name=name, key_sha256=key_hash(key), priority=priority)
        for name, key in (("ann", ANN), ("bob", BOB))
    ]
    transport = FakeTransport([Reply()], head_after_seconds=0.1)
    return make_gateway(transport, clock, pools=POOLS, identifier=Identifier(callers))


async def post(gateway: Rig, key: str, headers: Mapping[str, str]) -> Answer:
    return await call(gateway.gateway, "POST", "/v1/messages", body=BODY, headers={**headers, "x-api-key": key})


async def send(gateway: Rig, key: str, headers: Mapping[str, str]) -> Answer:
    answer = await post(gateway, key, headers)
    assert answer.status == 200
    return answer


def subagents(run: str, number: int) -> list[dict[str, str]]:
    """The header fields of 90 calls that this many subagents make in turn."""
    fields = captured(run)[2].passing
    return [{**fields, "x-claude-code-agent-id": f"a{index % number}"} for index in range(FLOOD)]


async def turns(gateway: Rig, run: str = WITHOUT_HINTS) -> list[float]:
    """The waits of several main turns for quota, in seconds."""
    waits = []
    for _ in range(TURNS):
        await asyncio.sleep(1.7)  # a tool runs meanwhile
        answer = await send(gateway, ANN, captured(run)[0].passing)
        waits.append(int(answer.headers["x-tidegate-queue-ms"]) / 1_000)
    return waits


async def beside(flood: list[asyncio.Task[Answer]], gateway: Rig, run: str = WITHOUT_HINTS) -> list[float]:
    waits = await turns(gateway, run)
    assert sum(task.done() for task in flood) < len(flood) / 2, "it went on meanwhile"
    for task in flood:
        task.cancel()
    await asyncio.wait(flood)
    return waits


@pytest.mark.parametrize("agents", [1, 10, FLOOD])
def test_a_main_turn_waits_at_most_2_s_behind_90_calls_of_its_own_subagents(agents: int) -> None:
    async def main() -> list[float]:
        flood = [asyncio.create_task(send(gateway, ANN, headers)) for headers in subagents(WITHOUT_HINTS, agents)]
        return await beside(flood, gateway)

    clock = VirtualClock()
    gateway = rig(clock)
    assert max(run_virtual(main(), clock)) <= 2


@pytest.mark.parametrize("agents", [1, 10, FLOOD])
def test_and_at_most_4_s_beside_an_equal_flood_of_another_caller(agents: int) -> None:
    async def main() -> list[float]:
        theirs = [asyncio.create_task(send(gateway, BOB, {})) for _ in range(FLOOD)]
        flood = [asyncio.create_task(send(gateway, ANN, headers)) for headers in subagents(WITHOUT_HINTS, agents)]
        return await beside(theirs + flood, gateway)

    clock = VirtualClock()
    gateway = rig(clock)
    assert max(run_virtual(main(), clock)) <= 4


def test_a_main_turn_does_not_wait_for_90_calls_of_another_session_of_the_same_key() -> None:
    async def main() -> list[float]:
        other = {"x-tidegate-session": "a-script"}
        return await beside([asyncio.create_task(send(gateway, ANN, other)) for _ in range(FLOOD)], gateway)

    clock = VirtualClock()
    gateway = rig(clock)
    assert max(run_virtual(main(), clock)) <= 2


def test_a_main_turn_is_not_refused_for_a_wait_that_only_its_subagents_have() -> None:
    async def main() -> None:
        flood = [asyncio.create_task(send(gateway, ANN, headers)) for headers in subagents(WITHOUT_HINTS, FLOOD)]
        await asyncio.sleep(1.7)
        turn = {**captured(WITHOUT_HINTS)[0].passing, "x-tidegate-timeout-seconds": "5"}
        await send(gateway, ANN, turn)
        subagent = {**captured(WITHOUT_HINTS)[2].passing, "x-tidegate-timeout-seconds": "5"}
        answer = await post(gateway, ANN, {**subagent, "x-claude-code-agent-id": "a1"})
        assert answer.headers["x-tidegate-cause"] == "deadline"
        for task in flood:
            task.cancel()
        await asyncio.wait(flood)

    clock = VirtualClock()
    gateway = rig(clock)
    run_virtual(main(), clock)


def test_with_hints_an_interactive_main_turn_goes_before_the_subagents_of_all_callers() -> None:
    async def main() -> list[float]:
        flood = [
            asyncio.create_task(send(gateway, key, headers))
            for key in (BOB, ANN)
            for headers in subagents(WITH_HINTS, FLOOD)
        ]
        return await beside(flood, gateway, WITH_HINTS)

    clock = VirtualClock()
    gateway = rig(clock, Priority.INTERACTIVE)
    assert max(run_virtual(main(), clock)) <= 2
