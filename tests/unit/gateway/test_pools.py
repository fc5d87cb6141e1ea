"""A 429 holds back the calls that share its limit, and no others."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator import NO_LATENCY, FastLimits, SimulatorOptions, create_app
from support.asgi_client import Answer, call
from support.gateway import (
    ANSWER,
    MESSAGE,
    FakeTransport,
    Reply,
    Rig,
    SimulatorTransport,
    error,
    make_gateway,
    post,
    sse,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.events import AttemptFinished, LeaseEnded, UpstreamRateLimited
from tidegate.core.ports.transport import TransportRequest

THROTTLED = error(429, "rate_limit_error", retry_after="5")
FAST = {**MESSAGE, "model": "claude-opus-4-8", "speed": "fast"}
LONG = [{"role": "user", "content": "Hello " * 100}]
STANDARD = {**MESSAGE, "model": "claude-opus-4-8"}


class ChoosyTransport(FakeTransport):
    """Responds with 429 to the first chosen request, and with success to all others."""

    def __init__(self, is_chosen: Callable[[TransportRequest, bytes], bool], throttled: Reply = THROTTLED) -> None:
        super().__init__([])
        self._is_chosen = is_chosen
        self._throttled: Reply | None = throttled

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> Any:
        assert isinstance(request.body, bytes)
        self.answers = [Reply()]
        if self._throttled is not None and self._is_chosen(request, request.body):
            self.answers, self._throttled = [self._throttled], None
        return await super().send(request, on_begin)


def run(
    transport: FakeTransport, first: tuple[str, str, Any], *others: tuple[str, str, Any]
) -> tuple[list[tuple[int, float]], Rig]:
    """Status and end, in seconds, of a call and of others that arrive a second later."""
    clock = VirtualClock()
    rig = make_gateway(transport, clock)

    async def timed(method: str, path: str, body: Any) -> tuple[int, float]:
        answer: Answer = await call(rig.gateway, method, path, body=body)
        return answer.status, clock.elapsed_s

    async def main() -> list[tuple[int, float]]:
        pending = asyncio.ensure_future(timed(*first))
        await asyncio.sleep(1)
        return [*await asyncio.gather(pending, *(timed(*other) for other in others))]

    return run_virtual(main(), clock), rig


class TestFastMode:
    def test_a_429_in_fast_mode_does_not_delay_standard_calls(self) -> None:
        transport = ChoosyTransport(lambda _request, body: b'"fast"' in body)
        ends, rig = run(transport, ("POST", "/v1/messages", FAST), ("POST", "/v1/messages", STANDARD))
        assert ends == [(200, 5.0), (200, 1.0)]
        assert [event.pool for event in rig.observer.of(UpstreamRateLimited)] == ["opus-4-8-fast"]
        assert {event.pool for event in rig.observer.of(AttemptFinished)} == {"opus-4-8-fast", "opus-4"}

    def test_a_429_in_standard_mode_does_not_delay_fast_calls(self) -> None:
        transport = ChoosyTransport(lambda _request, body: b'"fast"' not in body)
        ends, _ = run(transport, ("POST", "/v1/messages", STANDARD), ("POST", "/v1/messages", FAST))
        assert ends == [(200, 5.0), (200, 1.0)]

    def test_its_limits_are_learned_from_its_own_headers(self) -> None:
        headers = (
            (b"content-type", b"application/json"),
            (b"anthropic-ratelimit-input-tokens-limit", b"2000000"),
            (b"anthropic-fast-input-tokens-limit", b"100000"),
            (b"anthropic-fast-output-tokens-limit", b"20000"),
        )
        _, rig, _, _ = post([Reply(headers=headers)], body=FAST)
        (pool,) = rig.store.snapshot_now("opus-4-8-fast")
        limits = {each.dimension: each.upstream_per_minute for each in pool.dimensions}
        assert limits == {Dimension.REQUESTS: None, Dimension.INPUT_TOKENS: 100_000, Dimension.OUTPUT_TOKENS: 20_000}

    def test_a_flood_in_fast_mode_fills_its_own_limits_only(self) -> None:
        clock = VirtualClock()
        limits = FastLimits(input_tokens_per_minute=600, output_tokens_per_minute=600)
        transport = SimulatorTransport(
            create_app(SimulatorOptions(fast_limits=limits, latency=NO_LATENCY), clock=clock)
        )
        rig = make_gateway(transport, clock)
        headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "fast-mode-2026-02-01"}

        async def ask(body: dict[str, Any]) -> tuple[int, float]:
            answer = await call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers)
            return answer.status, clock.elapsed_s

        async def main() -> None:
            flood = asyncio.gather(*(ask({**FAST, "messages": LONG}) for _ in range(8)))
            await asyncio.sleep(1)
            for _ in range(8):
                assert await ask({**STANDARD, "messages": LONG}) == (200, 1.0)
            fast = await flood
            assert {status for status, _ in fast} == {200}
            assert max(seconds for _, seconds in fast) > 60, "more than a minute's quota of fast mode"

        run_virtual(main(), clock)

    def test_an_account_without_it_is_told_so_at_once(self) -> None:
        message = "This request would exceed your rate limit of 0 fast mode input tokens per minute"
        body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "%b"}}' % message.encode()
        refused = Reply(429, ((b"content-type", b"application/json"), (b"x-should-retry", b"true")), (body,))
        answer, rig, transport, seconds = post([refused, Reply()], body=FAST)
        assert (answer.status, answer.body, seconds, len(transport.requests)) == (429, body, 0.0, 1)
        assert answer.headers["x-should-retry"] == "false"
        assert rig.store.snapshot_now("opus-4-8-fast")[0].frozen_seconds == 0, "the next call may ask again"

    @pytest.mark.parametrize("streams", [True, False])
    def test_its_usage_is_counted_as_such(self, streams: bool) -> None:  # noqa: FBT001 - a parameter
        if streams:
            start = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 7, "speed": "fast"}}}\n\n'
            told = sse(start, b'event: message_stop\ndata: {"type": "message_stop"}\n\n')
        else:
            told = Reply(chunks=(b'{"id": "m", "model": "c", "usage": {"input_tokens": 7, "speed": "fast"}}',))
        _, rig, _, _ = post([told], body={**FAST, "stream": streams})
        assert [usage.fast for usage in rig.usages() if usage is not None] == [True]

    def test_its_prices_are_learned_apart(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([Reply(chunks=(ANSWER,))]), clock)

        async def main() -> None:
            for _ in range(50):
                await call(rig.gateway, "POST", "/v1/messages", body=STANDARD)
            await call(rig.gateway, "POST", "/v1/messages", body=FAST)

        run_virtual(main(), clock)
        reserved = {lease.pool: lease.reserved.output_tokens for lease in rig.observer.of(LeaseEnded)}
        assert reserved["opus-4"] < reserved["opus-4-8-fast"] == FAST["max_tokens"]


class TestEndpoints:
    def test_a_429_on_a_route_holds_back_that_route_and_method(self) -> None:
        transport = ChoosyTransport(lambda request, _body: request.target == b"/v1/agents")
        ends, _ = run(
            transport,
            ("GET", "/v1/agents", None),
            ("GET", "/v1/skills", None),
            ("GET", "/v1/agents/agent_01", None),
            ("GET", "/v1/sessions/sesn_01/events", None),
            ("DELETE", "/v1/agents", None),
            ("GET", "/v1/agents", None),
        )
        assert ends[:-1] == [(200, 5.0), *[(200, 1.0)] * 4]
        assert ends[-1][1] >= 5.0

    def test_routes_that_the_upstream_limits_as_a_group_wait_together(self) -> None:
        transport = ChoosyTransport(lambda request, _body: request.target == b"/v1/skills")
        ends, _ = run(transport, ("GET", "/v1/skills", None), ("GET", "/v1/skills/skill_01", None))
        assert [seconds >= 5.0 for _, seconds in ends] == [True, True]
