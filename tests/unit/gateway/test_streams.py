"""Streams on a virtual clock: clients that disconnect, streams without content, early errors, and charges."""

import asyncio
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import (
    ANSWER,
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
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
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.events import Anomaly, LeaseEnded, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway.relay_limits import RelayLimits

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
TEXT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"' + b"x" * 400 + b'"}}\n\n'
)
INVALID_EVENT = b'event: error\ndata: {"error": {"type": "invalid_request_error", "message": "told"}}\n\n'
PINGS: list[bytes | float] = [10.0, PING] * 100
BUSY: list[bytes | float] = [50.0, PING, 9.0, TEXT] * 10
ONCE = RetryPolicy(max_attempts=1)


def used(rig: Rig) -> list[Cost]:
    return [event.used for event in rig.observer.of(LeaseEnded)]


def leave(
    after_seconds: float,
    *answers: Reply | Exception,
    calls: int = 1,
    head_after_seconds: float = 0.0,
    **options: Any,
) -> tuple[Rig, float, list[Answer]]:
    """Calls whose clients disconnect after that time; returns the rest, and the duration."""
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers, head_after_seconds=head_after_seconds), clock, **options)
    received = [Answer() for _ in range(calls)]

    async def main() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(after_seconds, leaves.set)
        each = (call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, leaves=leaves, answer=a) for a in received)
        await asyncio.gather(*each)

    run_virtual(main(), clock)
    assert rig.in_flight() == 0
    assert [event.outcome for event in rig.observer.of(RequestFinished)] == ["abandoned"] * calls
    return rig, clock.elapsed_s, received


class TestAClientThatLeaves:
    def test_pays_for_what_was_reported_and_for_the_text_that_came_since(self) -> None:
        told = sse(MESSAGE_START, TEXT, TEXT, 100.0, MESSAGE_DELTA)
        rig, seconds, _ = leave(3, told)
        assert (seconds, told.closed, rig.outcomes()) == (3, True, ["abandoned"])
        assert used(rig) == [Cost(1, 7, 1 + 200)]
        assert rig.usages() == [Usage(7, 201)]

    def test_pays_the_estimate_when_nothing_has_come_yet(self) -> None:
        rig, seconds, _ = leave(3, Reply(), head_after_seconds=100)
        assert (seconds, used(rig)) == (3, [Cost(1, 25, 100)])

    def test_pays_for_the_prompt_when_it_leaves_while_the_head_is_held(self) -> None:
        rig, seconds, _ = leave(0.125, sse(MESSAGE_START, 100.0))
        assert (seconds, rig.outcomes(), used(rig)) == (0.125, ["abandoned"], [Cost(1, 7, 1)])


class TestReadingOn:
    limits = RelayLimits(read_on_seconds=30, read_on_calls=1)

    @pytest.mark.parametrize("told", [sse(MESSAGE_START, TEXT, 10.0, MESSAGE_DELTA), Reply(chunks=(10.0, ANSWER))])
    def test_learns_the_exact_usage(self, told: Reply) -> None:
        rig, seconds, _ = leave(3, told, limits=self.limits)
        assert (seconds, told.closed, rig.outcomes()) == (10, True, ["abandoned"])
        assert used(rig) == [Cost(1, 7, 30 if told.headers[0][1].startswith(b"text") else 3)]

    def test_ends_in_time(self) -> None:
        rig, seconds, _ = leave(3, sse(MESSAGE_START, TEXT, 100.0, MESSAGE_DELTA), limits=self.limits)
        assert (seconds, rig.outcomes(), used(rig)) == (33, ["abandoned"], [Cost(1, 7, 101)])

    def test_is_bounded_in_number(self) -> None:
        told = [sse(MESSAGE_START, TEXT, 10.0, MESSAGE_DELTA) for _ in range(4)]
        rig, _, _ = leave(3, *told, calls=3, limits=self.limits)
        assert sorted(used(rig)) == [Cost(1, 7, 30), Cost(1, 7, 101), Cost(1, 7, 101)]
        assert rig.gateway._read_on_calls == 0

    def test_makes_no_further_attempt(self) -> None:
        broken = sse(5.0, unreachable())
        rig, seconds, _ = leave(3, broken, Reply(), limits=self.limits, policy=RetryPolicy(base_delay_seconds=1))
        assert 5 <= seconds <= 7
        assert rig.outcomes() == ["released"]

    def test_is_not_for_a_call_that_waits(self) -> None:
        rig, seconds, _ = leave(3, unreachable(), limits=self.limits, policy=RetryPolicy(base_delay_seconds=9))
        assert (seconds, rig.outcomes()) == (3, ["released"])


class TestDeadStreams:
    limits = RelayLimits(content_idle_seconds=60)

    def test_pings_do_not_keep_a_stream_alive(self) -> None:
        told = sse(MESSAGE_START, TEXT, *PINGS)
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([told]), clock, limits=self.limits)
        answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
        assert (clock.elapsed_s, answer.complete, told.closed) == (60, False, True)
        assert answer.body == MESSAGE_START + TEXT + PING * 6
        assert (rig.outcomes(), used(rig)) == (["settled"], [Cost(1, 7, 101)])

    @pytest.mark.parametrize("deltas", [1, 2, 40])
    def test_pings_behind_unread_content_do_not_keep_a_stream_alive(self, deltas: int) -> None:
        content: list[bytes | float] = [5.0, TEXT] * deltas
        told = sse(MESSAGE_START, TEXT, *content, *PINGS)
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([told]), clock, limits=self.limits)
        answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
        assert (clock.elapsed_s, answer.complete, told.closed) == (5 * deltas + 60, False, True)

    def test_content_does(self) -> None:
        told = sse(MESSAGE_START, *BUSY, MESSAGE_DELTA)
        answer, *_ = post([told], limits=self.limits)
        assert answer.complete

    def test_a_stream_that_never_begins_is_another_attempts_business(self) -> None:
        dead = sse(*PINGS)
        answer, rig, _, seconds = post([dead, Reply()], limits=self.limits)
        assert (answer.body, seconds, rig.outcomes()) == (ANSWER, 61, ["abandoned", "settled"])

    def test_the_time_that_a_client_takes_is_no_idleness_of_the_upstream(self) -> None:
        clock = VirtualClock()
        told = sse(MESSAGE_START, TEXT, *[PING] * 20, MESSAGE_DELTA)
        rig = make_gateway(FakeTransport([told]), clock, limits=self.limits)
        answer = Answer()

        async def slowly(scope: Any, receive: Any, send: Any) -> None:
            async def slow_send(message: Any) -> None:
                await asyncio.sleep(30)
                await send(message)

            await rig.gateway(scope, receive, slow_send)

        run_virtual(call(slowly, "POST", "/v1/messages", body=MESSAGE, answer=answer), clock)
        assert (answer.complete, rig.outcomes()) == (True, ["settled"])


class TestAnErrorBeforeContent:
    def test_data_after_it_is_not_dropped(self) -> None:
        late = b"event: from_the_future\ndata: {}\n\n"
        answer, *_ = post([sse(MESSAGE_START, OVERLOADED_EVENT, 0.5, late)], policy=ONCE)
        assert (answer.body, answer.complete) == (MESSAGE_START + OVERLOADED_EVENT + late, True)

    @pytest.mark.parametrize("after", [(30.0, TEXT), (b"x" * 50_000,) * 9])
    def test_data_after_it_is_bounded_in_time_and_size(self, after: tuple[Any, ...]) -> None:
        answer, _, _, seconds = post([sse(MESSAGE_START, OVERLOADED_EVENT, *after)], policy=ONCE)
        assert answer.body.startswith(MESSAGE_START + OVERLOADED_EVENT)
        assert len(answer.body) < 120_000
        assert seconds <= 1

    def test_a_break_after_it_is_the_same_break_for_the_client(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([sse(OVERLOADED_EVENT, unreachable())]), clock, policy=ONCE)
        answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
        assert (answer.status, answer.body, answer.complete) == (200, OVERLOADED_EVENT, False)

    def test_one_that_would_be_the_same_next_time_is_relayed_as_it_comes(self) -> None:
        answer, rig, transport, seconds = post([sse(MESSAGE_START, INVALID_EVENT, 30.0, TEXT)])
        assert (answer.body, seconds) == (MESSAGE_START + INVALID_EVENT + TEXT, 30)
        assert (len(transport.requests), rig.outcomes()) == (1, ["settled"])
        assert rig.observer.of(RequestFinished)[0].outcome == "upstream_error"

    def test_the_usage_of_the_failed_attempt_is_charged(self) -> None:
        _, rig, _, _ = post([sse(MESSAGE_START, OVERLOADED_EVENT), sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)])
        assert used(rig) == [Cost(1, 7, 1), Cost(1, 7, 30)]

    def test_the_usage_of_an_attempt_whose_connection_broke_is_charged(self) -> None:
        broken = sse(MESSAGE_START, unreachable(may_have_been_accepted=True))
        _, rig, _, _ = post([broken, sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)])
        assert (rig.outcomes(), used(rig)) == (["abandoned", "settled"], [Cost(1, 7, 1), Cost(1, 7, 30)])


def test_with_two_seconds_between_start_and_content_the_head_goes_out_after_the_hold_time() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([sse(MESSAGE_START, 2.0, TEXT, MESSAGE_DELTA)]), clock)
    answer, seen = Answer(), []

    async def main() -> None:
        calling = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, answer=answer))
        for _ in range(3):
            await asyncio.sleep(0.2)
            seen.append((answer.status, answer.body))
        await calling

    run_virtual(main(), clock)
    assert seen == [(0, b""), (200, MESSAGE_START), (200, MESSAGE_START)]
    assert answer.body == MESSAGE_START + TEXT + MESSAGE_DELTA
    assert clock.elapsed_s == 2


EVENT = b'event: session.status\ndata: {"type": "session.status"}\n\n'


async def events_of_a_session(told: Reply, clock: VirtualClock) -> tuple[list[tuple[float, Any]], Rig]:
    """Time in seconds, and status or body, of each message of the response to a `GET` of an event stream."""
    rig = make_gateway(FakeTransport([told]), clock)
    went_out: list[tuple[float, Any]] = []

    async def send(message: Any) -> None:
        went_out.append((clock.elapsed_s, message.get("status", message.get("body"))))
        assert rig.in_flight() or not message.get("more_body")  # its lease lives

    async def receive() -> Any:
        return await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": "/v1/sessions/s_1/events/stream", "query_string": b""}
    await rig.gateway({**scope, "headers": [(b"x-stainless-timeout", b"600")]}, receive, send)
    return went_out, rig


def test_outside_of_messages_the_head_of_an_event_stream_goes_out_at_once() -> None:
    """Clients open the stream of a session first, and then send what it reports."""
    clock = VirtualClock()
    went_out, rig = run_virtual(events_of_a_session(sse(200.0, EVENT, 300.0, PING, 300.0, EVENT), clock), clock)
    assert went_out == [(0.0, 200), (200.0, EVENT), (500.0, PING), (800.0, EVENT), (800.0, b"")]
    assert [event.outcome for event in rig.observer.of(RequestFinished)] == ["ok"]


def test_the_lease_of_an_event_stream_lives_as_long_as_it_sends() -> None:
    """A lease without a charge for an hour would be reported as expired."""
    clock = VirtualClock()
    hours: list[bytes | float] = [500.0, PING] * 20
    went_out, rig = run_virtual(events_of_a_session(sse(*hours), clock), clock)
    assert (went_out[-1][0], rig.in_flight()) == (10_000.0, 0)
    assert not rig.observer.of(Anomaly)
    assert [event.outcome for event in rig.observer.of(RequestFinished)] == ["ok"]


def test_an_event_stream_that_breaks_before_its_first_byte_breaks_for_the_client() -> None:
    clock = VirtualClock()
    went_out, rig = run_virtual(events_of_a_session(sse(5.0, unreachable(may_have_been_accepted=True)), clock), clock)
    assert went_out == [(0.0, 200)]
    assert [event.outcome for event in rig.observer.of(RequestFinished)] == ["upstream_error"]


def test_an_error_in_place_of_an_event_stream_is_one() -> None:
    clock = VirtualClock()
    told = Reply(404, ((b"content-type", b"text/event-stream"),), (EVENT,))
    went_out, _ = run_virtual(events_of_a_session(told, clock), clock)
    assert went_out == [(0.0, 404), (0.0, EVENT)]


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hold_seconds: got -1, allowed is a number from 0"):
        RelayLimits(hold_seconds=-1)
