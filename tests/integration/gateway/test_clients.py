"""Real clients through a gateway to the simulator, compared with the same calls sent directly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from claude_simulator import Fault, FaultKind, SimulatorOptions, create_app
from claude_simulator.scenarios.latency import NO_LATENCY
from support.gateway import MESSAGE, Rig, make_gateway
from support.servers import serve
from tidegate.core.domain.events import RequestFinished
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.engine.clock import SystemClock
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.http.client.transport import HttpTransport

QUESTION: dict[str, Any] = MESSAGE
PER_REQUEST = ("date", "request-id", "x-tidegate-", "anthropic-ratelimit-")
"""Header fields that differ from one call to the next, or are the gateway's own."""


@dataclass
class Stage:
    """A gateway in front of a simulator, both on sockets."""

    upstream_url: str
    url: str
    rig: Rig

    def client(self, **options: Any) -> AsyncAnthropic:
        return AsyncAnthropic(
            api_key="theirs", base_url=self.url, max_retries=0, open_telemetry={"traces": {"enabled": False}}, **options
        )


@asynccontextmanager
async def stage(*faults: Fault) -> AsyncIterator[Stage]:
    async with serve(create_app(SimulatorOptions(latency=NO_LATENCY, faults=faults))) as upstream_url:
        transport = HttpTransport(upstream_url)
        policy = RetryPolicy(base_delay_seconds=0.01, max_delay_seconds=0.05)
        rig = make_gateway(
            transport,
            SystemClock(),
            policy=policy,
            upstream_key="simulator",
            upstream_kind="simulator",
            limits=RelayLimits(hold_seconds=0.05),
        )
        async with serve(rig.gateway) as url:
            yield Stage(upstream_url, url, rig)
            assert rig.in_flight() == 0
        await transport.aclose()


def run(steps: Callable[[Stage], Awaitable[None]], *faults: Fault) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), stage(*faults) as on:
            await steps(on)

    asyncio.run(main())


def test_the_anthropic_sdk_works_with_the_base_url_alone() -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client:
            message = await client.messages.create(**QUESTION)
            assert message.usage.output_tokens > 0
            assert (
                await client.messages.count_tokens(model=QUESTION["model"], messages=QUESTION["messages"])
            ).input_tokens
            assert (await client.models.list()).data
            async with client.messages.stream(**QUESTION) as stream:
                text = "".join([piece async for piece in stream.text_stream])
            assert text == message.content[0].text
        assert on.rig.outcomes() == ["settled"] * 4
        assert [event.outcome for event in on.rig.observer.of(RequestFinished)] == ["ok"] * 4

    run(steps)


async def fetch(url: str, method: str, path: str, body: bytes | None, **headers: str) -> tuple[int, Any, bytes]:
    given = {"x-api-key": "k", "anthropic-version": "2023-06-01", "content-type": "application/json", **headers}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url + path, data=body, headers=given) as response,
    ):
        fields = [(name.lower(), value) for name, value in response.headers.items()]
        return response.status, fields, await response.read()


def same_fields(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [field for field in fields if not field[0].startswith(PER_REQUEST)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models?limit=3", None),
        ("GET", "/v1/models/claude-haiku-5-5", None),
        (
            "POST",
            "/v1/messages/count_tokens",
            b'{"model":"claude-haiku-5-5","messages":[{"role":"user","content":"a"}]}',
        ),
        ("POST", "/v1/messages/count_tokens", b"{"),
        ("POST", "/v1/messages", b'{"model":"claude-haiku-5-5","max_tokens":0.5,"messages":[]}'),
        (
            "POST",
            "/v1/messages",
            b'{"model":"no-such-model","max_tokens":5,"messages":[{"role":"user","content":"a"}]}',
        ),
        ("GET", "/v1/nothing", None),
        ("DELETE", "/v1/messages", None),
    ],
)
def test_answers_are_the_same_bytes_as_without_the_gateway(method: str, path: str, body: bytes | None) -> None:
    async def steps(on: Stage) -> None:
        directly = await fetch(on.upstream_url, method, path, body)
        through = await fetch(on.url, method, path, body)
        assert through[0] == directly[0]
        assert same_fields(through[1]) == same_fields(directly[1])
        if directly[0] == 200:  # an error's body carries its own request id
            assert through[2] == directly[2]
        else:
            assert len(through[2]) == len(directly[2])
        added = {name for name, _ in through[1]} - {name for name, _ in directly[1]}
        assert added == {"x-tidegate-request-id", "x-tidegate-queue-ms", "x-tidegate-attempts", "x-tidegate-upstream"}

    run(steps)


def test_expect_100_continue_and_a_body_in_chunks() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"model":"claude-haiku-5-5","max_tokens":5,'
        yield b'"messages":[{"role":"user","content":"a"}]}'

    async def steps(on: Stage) -> None:
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        async with aiohttp.ClientSession() as session:
            for path in ("/v1/messages", "/v1/messages/count_tokens"):
                async with session.post(on.url + path, data=body(), headers=headers, expect100=True) as response:
                    assert response.status == (200 if path == "/v1/messages" else 400), await response.text()

    run(steps)


@pytest.mark.parametrize(
    "kind", [FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.INTERNAL_ERROR, FaultKind.BAD_GATEWAY]
)
def test_a_client_does_not_notice_a_failure_that_passes(kind: FaultKind) -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client:
            answer = await client.messages.with_raw_response.create(**QUESTION)
            assert answer.headers["x-tidegate-attempts"] == "2"

    run(steps, Fault(kind=kind, count=1, retry_after_seconds=1))


def test_an_error_before_the_first_content_of_a_stream_is_not_noticed() -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client, client.messages.stream(**QUESTION) as stream:
            assert (await stream.get_final_message()).stop_reason == "end_turn"
        assert on.rig.outcomes() in (["overloaded", "settled"], ["settled"])

    run(steps, Fault(kind=FaultKind.STREAM_ERROR, count=1, after_events=0))


def test_an_error_in_the_middle_of_a_stream_reaches_the_client_as_it_is() -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client:
            with pytest.raises(anthropic.APIStatusError) as caught:
                async with client.messages.stream(**QUESTION) as stream:
                    await stream.get_final_message()
            assert (caught.value.status_code, caught.value.type) == (200, "overloaded_error")
        await on.rig.finished()
        assert on.rig.outcomes() == ["settled"]

    run(steps, Fault(kind=FaultKind.STREAM_ERROR, after_events=2))


def test_a_stream_that_the_upstream_cuts_is_cut_for_the_client() -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                async with client.messages.stream(**QUESTION) as stream:
                    await stream.get_final_message()
        await on.rig.finished()
        assert on.rig.outcomes() == ["settled"]
        assert on.rig.observer.of(RequestFinished)[0].outcome == "upstream_error"

    run(steps, Fault(kind=FaultKind.CUT, after_events=2))


def test_many_callers_at_once_and_some_that_leave_leak_nothing() -> None:
    async def steps(on: Stage) -> None:
        async with on.client() as client:

            async def turn(number: int) -> None:
                async with client.messages.stream(**QUESTION) as stream:
                    async for _ in stream:
                        if number % 2:
                            return

            await asyncio.gather(*[turn(number) for number in range(40)])
        await on.rig.finished(40)
        assert len(on.rig.outcomes()) == 40
        assert set(on.rig.outcomes()) <= {"settled", "abandoned"}

    run(steps)
