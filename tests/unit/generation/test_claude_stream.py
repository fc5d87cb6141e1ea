import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from claude_simulator import Fault, FaultKind
from support.claude_questions import SlowStream, ask, in_flight, question, sse
from support.recording_observer import RecordingObserver
from support.simulated_claude import SimulatedClaude
from support.virtual_time import run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import RetriesExhausted
from tidegate.core.domain.events import (
    Anomaly,
    AttemptFinished,
    LeaseEnded,
)
from tidegate.generation.request import Progress, Tally, TextReceived


def test_text_is_reported_at_most_four_times_a_second() -> None:
    seen: list[Progress] = []
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=headers, stream=SlowStream()))
    answer = ask(SimulatedClaude(transport=transport), seen=seen)
    texts = [event.text for event in seen if isinstance(event, TextReceived)]
    assert answer.text == "word " * 100
    assert texts == ["word " * count for count in range(1, 101, 3)]


def answered_with(start: Any, delta: Any) -> RecordingObserver:
    """After one answer with this usage at its beginning and end."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": start}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta},
        {"type": "message_stop"},
    ]
    headers = {"content-type": "text/event-stream", "anthropic-ratelimit-requests-limit": "50"}
    response = httpx2.Response(200, headers=headers, content=b"".join(map(sse, events)))
    transport = httpx2.MockTransport(lambda _request: response)
    ask(SimulatedClaude(transport=transport, observer=(recorder := RecordingObserver())))
    return recorder


@pytest.mark.parametrize(
    ("start", "delta"),
    [
        ({"input_tokens": -1, "output_tokens": 1}, {"output_tokens": 20}),
        ({"input_tokens": 10**9, "output_tokens": 1}, {"output_tokens": 20}),
        ({}, {"output_tokens": 20}),
        ({"input_tokens": 10, "output_tokens": 1}, {"output_tokens": 4_001}),
        ({"input_tokens": 10, "output_tokens": 1}, {"output_tokens": -4}),
        ({"input_tokens": 10}, {"output_tokens": None}),
    ],
)
def test_usage_that_cannot_be_is_counted_and_the_estimate_charged(start: Any, delta: Any) -> None:
    recorder = answered_with(start, delta)
    (*_, ended) = recorder.of(LeaseEnded)
    assert recorder.of(Anomaly) == [Anomaly("sonnet-5-5", AnomalyKind.USAGE)]
    assert ended.used.input_tokens in (10, ended.reserved.input_tokens)
    assert ended.used.output_tokens in (20, ended.reserved.output_tokens)


def test_usage_that_can_be_is_not() -> None:
    assert answered_with({"input_tokens": 10}, {"output_tokens": 4_000}).of(Anomaly) == []


def test_deadline_ends_a_slow_answer() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.SLOW_START, delay_seconds=100))
    expected = r"ran out of time after 1 attempt in 5\.0 s; .* no complete answer within the 5\.0 s that were left"
    with pytest.raises(RetriesExhausted, match=expected) as caught:
        ask(claude, seconds=5)
    assert caught.value.out_of_time
    assert claude.clock.elapsed_s == 5
    assert in_flight(claude) == [0, 0]


def given_up(stream: SlowStream, *, by_deadline: bool) -> tuple[LeaseEnded, AttemptFinished]:
    """After 5 seconds of this stream, because that was all its time, or because the caller has left."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=headers, stream=stream))
    claude = SimulatedClaude(transport=transport, observer=(recorder := RecordingObserver()))

    async def main() -> None:
        asked = claude.model.ask(question(claude, seconds=5 if by_deadline else 600), lambda _progress: None, Tally())
        async with asyncio.timeout(5.01):
            await asked

    with pytest.raises(RetriesExhausted if by_deadline else TimeoutError):
        run_virtual(main(), claude.clock)
    assert in_flight(claude) == [0, 0]
    (*_, ended), (finished,) = recorder.of(LeaseEnded), recorder.of(AttemptFinished)
    assert ended.outcome == "abandoned"
    return ended, finished


@pytest.mark.parametrize("by_deadline", [True, False], ids=["deadline", "left"])
def test_an_answer_that_is_given_up_costs_what_was_written_until_then(*, by_deadline: bool) -> None:
    ended, finished = given_up(SlowStream({"input_tokens": 900, "output_tokens": 1}), by_deadline=by_deadline)
    words, tokens_per_byte = 49, 0.25
    assert ended.used[:2] == (1, 900)
    assert ended.used.output_tokens == pytest.approx(1 + words * len("word ") * tokens_per_byte, abs=2)
    assert ended.used.output_tokens < ended.reserved.output_tokens / 3
    assert finished.usage is not None
    assert finished.usage.output_tokens == ended.used.output_tokens
    assert finished.status == ("deadline" if by_deadline else "abandoned")


@pytest.mark.parametrize("by_deadline", [True, False], ids=["deadline", "left"])
def test_an_answer_that_is_given_up_before_it_began_costs_its_prompt(*, by_deadline: bool) -> None:
    ended, finished = given_up(SlowStream(begins_seconds=60), by_deadline=by_deadline)
    assert ended.used == ended.reserved._replace(output_tokens=0)
    assert finished.usage is None


def test_an_answer_that_breaks_off_costs_what_came_of_it() -> None:
    class Breaks(SlowStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            count = 0
            async for chunk in super().__aiter__():
                count += 1
                if count > 22:
                    raise httpx2.ReadError("cut")
                yield chunk

    headers = {"content-type": "text/event-stream"}
    stream = Breaks({"input_tokens": 900, "output_tokens": 1})
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=headers, stream=stream))
    claude = SimulatedClaude(transport=transport, observer=(recorder := RecordingObserver()))
    tally = Tally()
    with pytest.raises(RetriesExhausted):
        ask(claude, tally=tally)
    assert (tally.attempts, tally.usage.input_tokens, tally.usage.output_tokens) == (2, 1800, 52)
    ended = [event for event in recorder.of(LeaseEnded) if event.pool != "default"]
    assert [(event.outcome, event.used) for event in ended] == [("abandoned", Cost(1, 900, 26))] * 2
