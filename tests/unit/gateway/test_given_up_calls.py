"""The cost of a call that its client gives up, and how it is counted."""

import asyncio

import pytest

from support.asgi_client import call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    ONE_A_MINUTE,
    OVERLOADED_EVENT,
    FakeTransport,
    Reply,
    Rig,
    make_gateway,
    post,
    sse,
    unreachable,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.events import (
    AttemptFinished,
    LeaseEnded,
)
from tidegate.core.pricing.price_list import PriceList


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_lease_as_abandoned(*, stream: bool) -> None:
    clock = VirtualClock()
    told = sse(MESSAGE_START, CONTENT, 100.0, MESSAGE_DELTA) if stream else Reply()
    rig = make_gateway(FakeTransport([told], head_after_seconds=0 if stream else 100), clock)

    async def main() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(3, leaves.set)
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, leaves=leaves)

    run_virtual(main(), clock)
    assert clock.elapsed_s == 3
    assert (rig.outcomes(), rig.in_flight(), rig.call_outcome()) == (["abandoned"], 0, "abandoned")
    assert told.closed is stream


@pytest.mark.parametrize("leaves_first", [True, False])
def test_an_attempt_without_a_connection_costs_nothing(*, leaves_first: bool) -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], connected_after_seconds=100), clock)

    async def main() -> int:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(3 if leaves_first else 50, leaves.set)
        headers = {"x-tidegate-timeout-seconds": "9"}
        return (await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers, leaves=leaves)).status

    assert run_virtual(main(), clock) == (0 if leaves_first else 504)
    assert clock.elapsed_s == (3 if leaves_first else 9)
    assert set(rig.outcomes()) == {"released"}
    assert rig.in_flight() == 0


def test_a_client_that_leaves_the_queue_takes_nothing() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock, pools={"sonnet-5-5": ONE_A_MINUTE})

    async def main() -> None:
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(3, leaves.set)
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, leaves=leaves)

    run_virtual(main(), clock)
    (pool,) = rig.store.snapshot_now("sonnet-5-5")
    assert (clock.elapsed_s, pool.waiting, pool.in_flight, pool.granted) == (3, 0, 0, 1)


def statuses(rig: Rig) -> list[str]:
    return [event.status for event in rig.observer.of(AttemptFinished)]


@pytest.mark.parametrize(("seconds", "outcome"), [("2", "deadline"), ("70", "upstream_error")])
def test_a_short_deadline_is_no_failure_of_the_upstream(seconds: str, outcome: str) -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=90), clock)
    headers = {"x-tidegate-timeout-seconds": seconds}
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers), clock)
    assert (answer.status, statuses(rig), rig.call_outcome()) == (504, ["deadline"], outcome)


def test_a_call_that_its_client_cuts_short_is_no_failure_of_the_upstream() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)

    async def leave() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(1, leaves.set)
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, leaves=leaves)

    run_virtual(leave(), clock)
    assert statuses(rig) == ["abandoned"]


@pytest.mark.parametrize(
    ("end", "status"),
    [(OVERLOADED_EVENT, "529"), (unreachable(may_have_been_accepted=True), "error"), (MESSAGE_DELTA, "200")],
)
def test_a_stream_that_fails_is_counted_as_what_it_says(end: bytes | Exception, status: str) -> None:
    _, rig, *_ = post([sse(MESSAGE_START, CONTENT, end)])
    assert statuses(rig) == [status]


def costs(rig: Rig) -> list[tuple[int, int]]:
    """Charged input and output, lease by lease, for bodies of the same length."""
    return [(event.used.input_tokens, event.used.output_tokens) for event in rig.observer.of(LeaseEnded)]


@pytest.mark.parametrize(("stream", "output"), [(False, 100), (True, 0)])
@pytest.mark.parametrize("ends_by", ["leaving", "deadline"])
def test_a_call_that_is_given_up_before_it_begins_costs_its_prompt_only(
    *, stream: bool, output: int, ends_by: str
) -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)
    headers = {"x-tidegate-timeout-seconds": "3" if ends_by == "deadline" else "100"}

    async def main() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(3 if ends_by == "leaving" else 90, leaves.set)
        body = {**MESSAGE, "stream": stream}
        await call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers, leaves=leaves)

    run_virtual(main(), clock)
    ((charged_input, charged_output),) = costs(rig)
    assert 20 < charged_input < 40
    assert charged_output == output, "all that was reserved, for the model's pace is not known"


def test_a_whole_answer_that_is_given_up_is_charged_at_the_models_pace() -> None:
    clock = VirtualClock()
    transport = FakeTransport(
        [Reply(chunks=(b'{"type": "message", "usage": {"input_tokens": 7, "output_tokens": 60}}',))],
        head_after_seconds=2,
    )
    rig = make_gateway(transport, clock)

    async def main() -> None:
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
        headers = {"x-tidegate-timeout-seconds": "0.5"}
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers)

    run_virtual(main(), clock)
    assert costs(rig) == [(7, 60), (7, 15)]


def test_a_stream_that_breaks_before_it_began_or_says_an_error_costs_its_prompt() -> None:
    broken = unreachable(may_have_been_accepted=True)
    for told in (sse(broken), sse(OVERLOADED_EVENT)):
        _, rig, *_ = post([told, sse(MESSAGE_START, CONTENT)], body={**MESSAGE, "stream": True})
        (charged_input, charged_output), _ = costs(rig)
        assert (20 < charged_input < 40, charged_output) == (True, 0)


def test_what_a_stream_has_used_before_it_broke_has_its_price() -> None:
    broken = unreachable(may_have_been_accepted=True)
    _, rig, *_ = post([sse(MESSAGE_START, broken), sse(MESSAGE_START, CONTENT)], body={**MESSAGE, "stream": True})
    first, _ = rig.observer.of(AttemptFinished)
    assert first.usage is not None
    assert first.cost_pico_usd == PriceList.bundled().cost_pico_usd(first.model, first.usage, 2**40)
