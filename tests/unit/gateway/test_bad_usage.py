"""Usage that is missing, negative or a million times the estimate: counted, charged by the estimate, learned from by
nobody.
"""

import json
from typing import Any

import pytest

from support.asgi_client import call
from support.gateway import (
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    FakeTransport,
    Reply,
    Rig,
    make_gateway,
    post,
    sse,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Anomaly, AttemptFinished, LeaseEnded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.domain.usage import Usage

POOL = "sonnet-5-5"
ODD = Anomaly(POOL, AnomalyKind.USAGE)
GOOD = {"input_tokens": 7, "output_tokens": 3}
LONG = MESSAGE | {"max_tokens": 128_000}


def message(usage: Any = None) -> Reply:
    body = {"type": "message"} if usage is None else {"type": "message", "usage": usage}
    return Reply(chunks=(json.dumps(body).encode(),))


def stream(start: Any, delta: Any, text: str = "four" * 100) -> Reply:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return sse(
        b"event: message_start\ndata: " + json.dumps({"message": {"usage": start}}).encode() + b"\n\n",
        b"event: content_block_delta\ndata: " + json.dumps(event).encode() + b"\n\n",
        b"event: message_delta\ndata: " + json.dumps({"usage": delta}).encode() + b"\n\n",
    )


def odd(rig: Rig) -> list[Anomaly]:
    return [event for event in rig.observer.of(Anomaly) if event.kind == AnomalyKind.USAGE]


def charged(answer: Reply, body: Any = MESSAGE) -> tuple[LeaseEnded, list[Anomaly], Usage | None]:
    reply, rig, _, _ = post([answer], body=body)
    assert reply.status == 200
    (ended,), (attempt,) = rig.observer.of(LeaseEnded), rig.observer.of(AttemptFinished)
    return ended, odd(rig), attempt.usage


class TestWhole:
    @pytest.mark.parametrize("usage", [None, {}, [], "many", {"input_tokens": -7, "output_tokens": -3}])
    def test_without_usage_the_estimate_is_charged(self, usage: Any) -> None:
        ended, anomalies, _ = charged(message(usage))
        assert (ended.used, anomalies) == (ended.reserved, [ODD])

    @pytest.mark.parametrize("absurd", [-3, "3", 3.5, None, 101, 10**9, 10**40])
    def test_output_that_cannot_be(self, absurd: Any) -> None:
        ended, anomalies, told = charged(message(GOOD | {"output_tokens": absurd}))
        assert (ended.used, anomalies) == (Cost(1, 7, ended.reserved.output_tokens), [ODD])
        assert told == Usage(7, 0), "nor is it in any metric"

    @pytest.mark.parametrize("absurd", [-7, "7", 7.5, None, 1_000_001, 10**9, 10**40])
    def test_input_that_cannot_be(self, absurd: Any) -> None:
        ended, anomalies, told = charged(message(GOOD | {"input_tokens": absurd}))
        assert (ended.used, anomalies) == (Cost(1, ended.reserved.input_tokens, 3), [ODD])
        assert told == Usage(0, 3)

    def test_plausible_usage_is_no_anomaly(self) -> None:
        assert charged(message(GOOD))[1] == []
        assert charged(message(GOOD | {"cache_read_input_tokens": None}))[1] == []
        warming = charged(message(GOOD | {"output_tokens": 0}), MESSAGE | {"max_tokens": 0})
        assert warming[1] == []

    def test_an_answer_that_is_not_a_messages_answer_owes_no_usage(self) -> None:
        _, rig, _, _ = post([message()], path="/v1/messages/count_tokens")
        assert odd(rig) == []


class TestStream:
    @pytest.mark.parametrize("delta", [{}, {"output_tokens": -30}, {"output_tokens": None}, {"output_tokens": "30"}])
    def test_without_a_final_figure_the_text_is_charged(self, delta: Any) -> None:
        ended, anomalies, _ = charged(stream({"input_tokens": 7, "output_tokens": 1}, delta))
        assert anomalies == [ODD]
        assert ended.used.input_tokens == 7
        assert ended.used.output_tokens == pytest.approx(101, abs=5)

    def test_or_the_estimate_if_that_is_more(self) -> None:
        ended, anomalies, _ = charged(stream({"input_tokens": 7}, {"output_tokens": 10**9}, text="hi"))
        assert (ended.used, anomalies) == (Cost(1, 7, ended.reserved.output_tokens), [ODD])

    def test_without_any_figures_the_text_counts_too(self) -> None:
        ended, anomalies, told = charged(stream(None, None, text="four" * 8_000), LONG)
        assert (ended.used.input_tokens, told, anomalies) == (ended.reserved.input_tokens, None, [ODD])
        assert ended.used.output_tokens == pytest.approx(8_000, abs=5)

    def test_while_it_comes_nothing_is_charged_that_cannot_be(self) -> None:
        start = (
            b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 900000000, "output_tokens": 1}}}\n\n'
        )
        content = b'event: content_block_delta\ndata: {"delta": {"type": "text_delta", "text": "hi"}}\n\n'
        clock = VirtualClock()
        limits = {Dimension.INPUT_TOKENS: LimitSettings(60_000, 60_000)}
        transport = FakeTransport([sse(start, content, 5.0, MESSAGE_DELTA), sse(MESSAGE_START, content, MESSAGE_DELTA)])
        rig = make_gateway(transport, clock, pools={POOL: PoolSettings(limits)})

        async def both() -> float:
            for _ in range(2):
                await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
            return clock.elapsed_s

        assert run_virtual(both(), clock) == pytest.approx(5, abs=0.1)


def test_a_million_times_the_estimate_neither_puts_a_pool_in_debt_nor_ruins_its_prices() -> None:
    clock = VirtualClock()
    limits = {dimension: LimitSettings(60_000, 60_000) for dimension in Dimension}
    absurd = message({"input_tokens": 25_000_000, "output_tokens": 25_000_000})
    rig = make_gateway(FakeTransport([absurd, message(GOOD)]), clock, pools={POOL: PoolSettings(limits)})

    async def calls() -> list[float | None]:
        for _ in range(2):
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
        return [each.available for each in rig.store.snapshot_now(POOL)[0].dimensions[1:]]

    assert min(level or 0 for level in run_virtual(calls(), clock)) > 59_000
    first, second = rig.observer.of(LeaseEnded)
    assert first.reserved == second.reserved, "and nothing was learned from it"
