"""A spend cap: after one refusal of the upstream, no other call is sent."""

import asyncio
from datetime import UTC, datetime

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, RefusedCall, SpendCapReached

WALL = datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
CAPPED = error(429, "rate_limit_error", "enforced_spend_limit_reached", x_should_retry="true")
CREDIT = Reply(
    400,
    chunks=(b'{"type": "error", "error": {"type": "x", "message": "Your credit balance is too low to access it"}}',),
)


async def ask(rig: Rig) -> Answer:
    return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)


def rig_of(*answers: Reply, head_after_seconds: float = 0.0) -> tuple[Rig, FakeTransport, VirtualClock]:
    clock = VirtualClock(wall_start_s=WALL)
    transport = FakeTransport(answers, head_after_seconds=head_after_seconds)
    return make_gateway(transport, clock), transport, clock


def test_the_first_call_gets_the_upstreams_answer_and_all_others_are_refused_until_the_date() -> None:
    rig, transport, clock = rig_of(CAPPED, Reply())

    async def main() -> list[Answer]:
        first = await ask(rig)
        second = await ask(rig)
        await asyncio.sleep(3_600)
        return [first, second, await ask(rig)]

    first, second, third = run_virtual(main(), clock)
    assert (first.status, first.body, first.headers["x-should-retry"]) == (429, CAPPED.chunks[0], "false")
    assert (second.status, second.json()["error"]["type"]) == (403, "permission_error")
    assert second.headers["x-tidegate-cause"] == "spend_cap"
    assert (second.headers["x-should-retry"], second.headers["retry-after"]) == ("false", "3600")
    assert "2026-12-01 00:00:00 UTC" in second.json()["error"]["message"]
    assert (third.status, len(transport.requests)) == (200, 2)
    assert rig.observer.of(SpendCapReached) == [SpendCapReached("sonnet-5-5")]
    assert [event.cause for event in rig.observer.of(RefusedCall)] == [Cause.SPEND_CAP]
    (opened,) = rig.observer.of(CircuitOpened)
    assert opened.closes_in_ns == 3_600 * 10**9
    assert rig.observer.of(CircuitClosed) == [CircuitClosed("sonnet-5-5", Cause.SPEND_CAP)]


def test_waiters_are_refused_at_once() -> None:
    rig, transport, clock = rig_of(CAPPED, head_after_seconds=0.2)  # the others wait for the first answer

    async def main() -> list[Answer]:
        return await asyncio.gather(*(ask(rig) for _ in range(20)))

    first, *others = run_virtual(main(), clock)
    assert (first.status, len(transport.requests), clock.elapsed_s) == (429, 1, 0.2)
    assert {(other.status, other.headers["x-tidegate-cause"]) for other in others} == {(403, "spend_cap")}


def test_credit_that_is_used_up_is_probed() -> None:
    rig, transport, clock = rig_of(CREDIT, CREDIT, Reply())

    async def main() -> list[int]:
        statuses = []
        for _ in range(5):
            statuses.append((await ask(rig)).status)
            await asyncio.sleep(60)
        return statuses

    assert run_virtual(main(), clock) == [400, 400, 403, 200, 200]
    assert len(transport.requests) == 4
    assert [type(event) for event in rig.observer.events if isinstance(event, CircuitOpened | CircuitClosed)] == [
        CircuitOpened,
        CircuitClosed,
    ]


@pytest.mark.parametrize("answer", [CAPPED, CREDIT])
def test_other_pools_go_on(answer: Reply) -> None:
    rig, _, clock = rig_of(answer, Reply())

    async def main() -> list[int]:
        await ask(rig)
        other = {**MESSAGE, "model": "claude-haiku-5-5"}
        return [(await call(rig.gateway, "POST", "/v1/messages", body=other)).status, (await ask(rig)).status]

    assert run_virtual(main(), clock) == [200, 403]


def test_a_call_that_had_to_wait_for_a_429_learns_of_the_cap_and_not_of_the_429() -> None:
    rig, transport, clock = rig_of(error(429, "rate_limit_error", retry_after="5"), CAPPED, head_after_seconds=1.0)

    async def main() -> list[Answer]:
        return await asyncio.gather(*(ask(rig) for _ in range(2)))

    answers = run_virtual(main(), clock)
    assert sorted(answer.headers.get("x-tidegate-cause", "upstream") for answer in answers) == ["spend_cap", "upstream"]
    assert len(transport.requests) == 2
