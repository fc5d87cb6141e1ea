import asyncio
import contextlib
import json
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from benchmarks.gateway.bare_relay import BareRelay
from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started
from benchmarks.gateway.latency import percentile
from benchmarks.gateway.ledger_cost import cpu_microseconds_each
from benchmarks.gateway.mock_streams import MockStreams, events
from benchmarks.gateway.nginx import mock_configuration, proxy_configuration
from benchmarks.gateway.processes import Process, free_port, running
from benchmarks.gateway.rows import Bound, Rounds, Row
from support.servers import serve


@pytest.mark.parametrize(
    ("value", "met"),
    [(1.0, True), (1.004, True), (1.006, False), (0.99, False)],
    ids=["at", "rounds", "above", "below"],
)
def test_a_figure_is_held_to_its_bounds_as_printed(value: float, met: bool) -> None:  # noqa: FBT001
    bound = Bound("ratio", value, at_least=1.0, at_most=1.0)
    assert bound.is_met is met
    assert ("PASS" if met else "MISS") in bound.text()


def test_a_row_without_bounds_has_no_verdict() -> None:
    assert Bound("ratio", 3.2).is_met
    assert Bound("ratio", 3.2).text() == "ratio 3.20"


def test_a_row_has_a_cell_for_each_contender_and_its_bounds_below() -> None:
    figures, bound = Row("requests/s", {"a": 12_345.6, "b": 0.1234}, (Bound("ratio", 2, at_least=1),)).lines("abc")
    assert figures.split() == ["requests/s", "12,346", "0.123", "-"]
    assert bound.strip() == "ratio 2.00 (>= 1) PASS"


def test_rounds_are_read_as_medians() -> None:
    rounds = Rounds()
    for value in (5.0, 1.0, 2.0):
        rounds.add("ms", "a", value)
    rounds.add("other", "a", 7.0)
    assert rounds.medians("ms") == {"a": 2.0}


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(1, 101), percent) for percent in (0, 50, 99, 100)] == [1, 51, 100, 100]


@pytest.mark.parametrize("blocks", [0, 30])
def test_a_request_has_the_declared_length(blocks: int) -> None:
    head, _, body = message_request(80, 20_000, blocks=blocks).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert len(body) == pytest.approx(20_000, rel=0.1)
    content = json.loads(body)["messages"][0]["content"]
    assert isinstance(content, str) if not blocks else len(content) == blocks


def test_a_mock_stream_has_the_format_of_the_api() -> None:
    pieces = events(3)
    assert len(pieces) == 5
    names = [line for line in b"".join(pieces).decode().splitlines() if line.startswith("event: ")]
    assert names[0] == "event: message_start"
    assert names.count("event: content_block_delta") == 3
    assert names[-1] == "event: message_stop"


@pytest.mark.parametrize("every", [0, 0.001])
def test_the_client_counts_a_stream_through_the_bare_relay(every: float) -> None:
    asyncio.run(_stream_twice(every))


async def _stream_twice(every: float) -> None:
    tickers: dict[float, Any] = {}
    server = await asyncio.get_running_loop().create_server(lambda: MockStreams(tickers), "127.0.0.1", 0)
    relay = BareRelay(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, serve(relay) as url:
        port = int(url.rpartition(":")[2])
        client = await Client.connect(port)
        for _ in range(2):
            took_ns = await client.call(message_request(port, 2_000, f"?deltas=7&every={every}", stream=True))
            assert client.events == 7
            assert took_ns > 0
            assert client.first_event_ns > 0
        client.close()
        assert relay.session is not None
        await relay.session.close()


def test_a_process_reports_cpu_time_memory_and_output(tmp_path: Path) -> None:
    with running(["sleep", "60"], 0, tmp_path) as process:
        assert process.cpu_seconds() >= 0
        assert process.resident_bytes() > 0  # small until exec
        process.check()
    with running(["sh", "-c", "echo no such luck; exit 3"], 0, tmp_path) as process:
        process.wait()
        with pytest.raises(RuntimeError, match="ended with 3: no such luck"):
            process.check()


def test_the_nginx_configuration_has_the_ports() -> None:
    port, behind = free_port(), free_port()
    for configuration in (mock_configuration("x", port, behind), proxy_configuration("x", port, behind)):
        assert f"listen 127.0.0.1:{port} " in configuration
        assert f"server 127.0.0.1:{behind};" in configuration


def test_the_cpu_time_of_a_call_leaves_out_the_first_turn() -> None:
    assert asyncio.run(_measured({"dear": 7e-6, "cheap": 5e-6})) == pytest.approx({"dear": 7.0, "cheap": 5.0})


async def _measured(seconds_each: dict[str, float]) -> dict[str, float]:
    async with contextlib.AsyncExitStack() as stack:
        targets, processes = [], []
        for name, seconds in seconds_each.items():
            processes.append(process := _Counting(seconds))
            server = await stack.enter_async_context(await asyncio.start_server(process.answer, "127.0.0.1", 0))
            targets.append(Started(name, server.sockets[0].getsockname()[1], cast("Process", process)))
        found = await cpu_microseconds_each(targets, Random(1), turns=2, calls=12, connections=4)  # noqa: S311
        await asyncio.gather(*(task for process in processes for task in process.answering))
        return found


class _Counting:
    """A process that uses the same CPU time in each call, and a second in its first one."""

    def __init__(self, seconds_each: float) -> None:
        self._seconds_each = seconds_each
        self._calls = 0
        self.answering: list[asyncio.Task[None]] = []

    def cpu_seconds(self) -> float:
        return self._calls * self._seconds_each + bool(self._calls)

    def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answering.append(asyncio.create_task(self._answer(reader, writer)))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
                self._calls += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
