"""The real service is told to stop while streams are open."""

import asyncio
import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx2
import pytest

from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from support.service_process import running

CALL = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1_000,
    "stream": True,
    "messages": [{"role": "user", "content": "Tell a long story"}],
}
TOKENS = 32
TOO_MANY_TOKENS = 1_000
"""At four tokens a second, these take longer than the service waits."""
TOKENS_AN_EVENT = 4


async def streams_while_it_stops(on: ServiceAndSimulator, lengths: list[int]) -> list[str]:
    """How the stream of each length ended: `whole`, `error` by an event, or `broken`.

    The signal comes when all have begun.
    """
    begun = 0
    all_begun = asyncio.Event()

    async def one(http: aiohttp.ClientSession, tokens: int) -> str:
        nonlocal begun
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-simulator-output-tokens": str(tokens)}
        received = b""
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async with http.post(f"{on.service.url}/v1/messages", json=CALL, headers=headers) as answer:
                assert answer.status == 200
                async for data in answer.content.iter_any():
                    if not received:
                        begun += 1
                        if begun == len(lengths):
                            all_begun.set()
                    received += data
        if b"event: error" in received:
            assert b"shutting down" in received
            return "error"
        return "whole" if b"event: message_stop" in received else "broken"

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        running = asyncio.gather(*[one(http, tokens) for tokens in lengths])
        async with asyncio.timeout(60):
            await all_begun.wait()
        assert on.metrics("tidegate_in_flight")['{pool="sonnet-5-5"}'] == len(lengths)
        os.kill(on.service.process.pid, signal.SIGTERM)
        return await running


def charged_for_calls(on: ServiceAndSimulator) -> list[tuple[int, int]]:
    """Input and output of each call, from the log of calls: the books that outlive the process."""
    lines = [json.loads(line) for line in on.service.printed().splitlines() if line.startswith("{")]
    calls = [line for line in lines if line["event"] == "request"]
    return [(call["input_tokens"], call["output_tokens"]) for call in calls]


@pytest.mark.parametrize(("streams", "drain_seconds"), [(100, 12), pytest.param(500, 20, marks=pytest.mark.clients)])
def test_streams_end_or_are_told_when_their_time_is_over(tmp_path: Path, streams: int, drain_seconds: int) -> None:
    times = {"TIDEGATE_DRAIN_NOTICE_SECONDS": "0.5", "TIDEGATE_DRAIN_SECONDS": f"{drain_seconds}"}
    lengths = [TOKENS, TOO_MANY_TOKENS] * (streams // 2)
    with service_and_simulator(tmp_path, per_token_seconds=0.25, variables=times) as on:
        ended = asyncio.run(streams_while_it_stops(on, lengths))
        assert ended == ["whole" if tokens == TOKENS else "error" for tokens in lengths]
        assert on.service.process.wait(timeout=20) == 0
        assert "Traceback" not in on.service.printed()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{on.service.url}/healthz")
        deadline = time.monotonic() + 10
        while on.state()["in_flight"]:
            assert time.monotonic() < deadline, "the upstream works on for nobody"
            time.sleep(0.05)
        charged = charged_for_calls(on)
        assert len(charged) == streams == on.real("requests")
        assert sum(tokens for tokens, _ in charged) == on.real("input_tokens")
        assert sorted(tokens for _, tokens in charged)[: streams // 2] == [TOKENS] * (streams // 2)
        # Produced and never read while the connections are being closed: less than two events of each.
        unknown = on.real("output_tokens") - sum(tokens for _, tokens in charged)
        assert abs(unknown) <= streams // 2 * 2 * TOKENS_AN_EVENT, unknown


def test_metrics_of_their_own_address_are_there_until_the_last_stream_has_ended(tmp_path: Path) -> None:
    places = tmp_path / "simulator", tmp_path / "service"
    for place in places:
        place.mkdir()
    slow = ("--first-token-seconds=0.01", "--per-token-seconds=0.1")
    with (
        running(places[0], "simulator", *slow) as simulator,
        running(
            places[1],
            "serve",
            ANTHROPIC_API_KEY="any",
            TIDEGATE_UPSTREAM_URL=simulator.url,
            TIDEGATE_METRICS_PORT="0",
            TIDEGATE_DRAIN_NOTICE_SECONDS="0.2",
        ) as service,
    ):
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-simulator-output-tokens": str(TOKENS)}
        metrics = service.place("metrics")
        with httpx2.stream("POST", f"{service.url}/v1/messages", json=CALL, headers=headers) as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            os.kill(service.process.pid, signal.SIGTERM)
            refused_by(service.url)
            assert 'tidegate_in_flight{pool="sonnet-5-5"} 1.0' in httpx2.get(metrics).text
            assert b"event: message_stop" in b"".join(pieces)
        assert service.process.wait(timeout=20) == 0
        refused_by(metrics)


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGINT, ("--http", "uvicorn"))]
)
def test_a_second_signal_stops_at_once_and_the_first_says_what_is_waited_for(
    number: signal.Signals, options: tuple[str, ...], tmp_path: Path
) -> None:
    with running(tmp_path, "simulator", "--first-token-seconds=30") as simulator:
        place = tmp_path / "service"
        place.mkdir()
        variables = {"ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": simulator.url}
        with running(place, "serve", *options, **variables) as service, ThreadPoolExecutor() as clients:
            headers = {"anthropic-version": "2023-06-01"}
            calls = [
                clients.submit(httpx2.post, f"{service.url}/v1/messages", json=CALL, headers=headers, timeout=30)
                for _ in range(2)
            ]
            deadline = time.monotonic() + 10
            while httpx2.get(f"{simulator.url}/simulator/state").json()["in_flight"] < len(calls):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(service.process.pid, number)
            while "waiting for 2 open calls, for 600 s at most; a second signal stops at once" not in service.printed():
                assert time.monotonic() < deadline, service.printed()
                time.sleep(0.05)
            assert service.process.poll() is None
            os.kill(service.process.pid, number)
            assert service.process.wait(timeout=5) == 0
            assert "Traceback" not in service.printed()
            for call in calls:
                assert call.exception() is not None or call.result().status_code == 503


def test_without_calls_a_signal_stops_at_once_and_says_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--upstream", "simulator") as service:
        os.kill(service.process.pid, signal.SIGINT)
        assert service.process.wait(timeout=10) == 0
        assert "waiting for" not in service.printed()


def refused_by(url: str) -> None:
    """Waits until nobody listens there."""
    deadline = time.monotonic() + 10
    while True:
        try:
            httpx2.get(url)
        except httpx2.ConnectError:
            return
        except httpx2.RemoteProtocolError:
            pass  # it was just being closed
        assert time.monotonic() < deadline, f"{url} still answers"
        time.sleep(0.02)
