"""A new process takes over from the running one while calls wait and streams run."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from restarts.load import Load, running_load
from support.service_process import ServiceProcess, run_to_end, running

CALL = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01", "x-simulator-output-tokens": "1"}


class Machine:
    """A simulator, and a service with a state folder, whose processes replace each other."""

    def __init__(self, directory: Path, simulator: ServiceProcess, stack: ExitStack, **variables: str) -> None:
        self.simulator = simulator
        self.processes: list[ServiceProcess] = []
        self.variables = {
            "ANTHROPIC_API_KEY": "any",
            "TIDEGATE_UPSTREAM_URL": simulator.url,
            "TIDEGATE_STATE_DIR": str(directory / "state"),
            **variables,
        }
        self._directory = directory
        self._stack = stack
        self._port = "0"

    @property
    def state_dir(self) -> Path:
        return Path(self.variables["TIDEGATE_STATE_DIR"])

    def start(self, *options: str) -> ServiceProcess:
        """Start a process, which takes over if there is one. Returns when it has said that it is ready."""
        place = self._directory / f"service{len(self.processes)}"
        place.mkdir()
        service = self._stack.enter_context(
            running(place, "serve", "--take-over", "--port", self._port, *options, **self.variables)
        )
        self._port = service.url.rpartition(":")[2]
        self.processes.append(service)
        return service

    def refused_by_upstream(self) -> int:
        state = httpx2.get(f"{self.simulator.url}/simulator/state").json()
        return sum(pool["rate_limited"] for pool in state["pools"].values())

    def requests(self) -> int:
        state = httpx2.get(f"{self.simulator.url}/simulator/state").json()
        return sum(pool["requests"] for pool in state["pools"].values())


@contextmanager
def machine(directory: Path, *options: str, **variables: str) -> Iterator[Machine]:
    place = directory / "simulator"
    place.mkdir()
    with ExitStack() as stack:
        simulator = stack.enter_context(running(place, "simulator", "--first-token-seconds=0.01", *options))
        yield Machine(directory, simulator, stack, **variables)


def comes(text: str, service: ServiceProcess) -> None:
    """Wait until a process has printed a text."""
    deadline = time.monotonic() + 20
    while text not in service.printed():
        assert time.monotonic() < deadline, service.printed()
        time.sleep(0.02)


def test_streams_and_calls_outlive_three_processes_and_the_limit_holds(tmp_path: Path) -> None:
    """Retries are off, so a single refused or cut connection fails the test.

    The upstream admits 8 requests per second and the load is 13, so calls wait at each hand-over.
    """
    fast = ("--requests-per-minute=480", "--per-token-seconds=0.05", "--input-tokens-per-minute=100000000")
    load = Load(streams=10, stream_seconds=3, calls_per_second=10, retries=0, seconds_per_token=0.05)

    async def main(on: Machine) -> None:
        async with running_load(on.processes[0].url, load) as counts:
            for _ in range(3):
                await asyncio.sleep(1)
                await asyncio.to_thread(on.start)
            await asyncio.sleep(1)
        assert counts.lost == 0, str(counts)
        assert counts.calls > 30
        assert counts.streams > 10

    with machine(tmp_path, *fast) as on:
        on.start()
        asyncio.run(main(on))
        assert on.refused_by_upstream() == 0
        *replaced, last = on.processes
        for each in replaced:
            assert each.process.wait(timeout=20) == 0, each.printed()
            assert "has taken over" in each.printed()
        assert all("Traceback" not in each.printed() for each in on.processes)
        os.kill(last.process.pid, signal.SIGTERM)
        assert last.process.wait(timeout=20) == 0


def test_calls_that_wait_in_the_old_process_are_admitted_by_the_new_one(tmp_path: Path) -> None:
    slow = {"TIDEGATE_POOL_REQUESTS_PER_MINUTE": "1", "TIDEGATE_POOL_BURST_SECONDS": "60"}
    with machine(tmp_path, **slow) as on, ThreadPoolExecutor(8) as clients:
        first = on.start()
        calls = [clients.submit(_call, first.url) for _ in range(8)]
        _waits(first, 7)  # by the limit of this process, for one to seven minutes
        on.variables["TIDEGATE_POOL_REQUESTS_PER_MINUTE"] = "600"
        second = on.start()
        later = clients.submit(_call, second.url)
        assert [call.result().status_code for call in (*calls, later)] == [200] * 9
        assert first.process.wait(timeout=20) == 0
        assert (on.requests(), on.refused_by_upstream()) == (9, 0)


def test_without_its_leader_the_old_process_refuses_waiting_calls_and_goes_on_with_streams(tmp_path: Path) -> None:
    slow = {"TIDEGATE_POOL_REQUESTS_PER_MINUTE": "1", "TIDEGATE_POOL_BURST_SECONDS": "60"}
    with machine(tmp_path, "--per-token-seconds=0.1", **slow) as on, ThreadPoolExecutor(1) as clients:
        first = on.start()
        with _endless_stream(first.url) as pieces:
            waiting = clients.submit(_call, first.url)
            _waits(first, 1)
            second = on.start()
            comes("has taken over", first)
            second.process.kill()
            refused = waiting.result()
            assert (refused.status_code, refused.headers["x-tidegate-cause"]) == (503, "store_unavailable")
            assert refused.headers["x-should-retry"] == "true"
            assert all(next(pieces) for _ in range(3)), "it goes on"
        assert first.process.wait(timeout=20) == 0
        assert "Traceback" not in first.printed()


def test_the_leases_of_an_old_process_that_is_killed_end(tmp_path: Path) -> None:
    with machine(tmp_path, "--per-token-seconds=0.1") as on:
        first = on.start()
        with _endless_stream(first.url):
            second = on.start()
            comes("has taken over", first)
            _comes_to(second, "tidegate_in_flight{", 1)
            first.process.kill()
            _comes_to(second, "tidegate_in_flight{", 0)


def test_without_a_process_to_replace_it_starts_as_usual(tmp_path: Path) -> None:
    with machine(tmp_path) as on:
        first = on.start()
        comes("no process to take over from", first)
        assert oct((on.state_dir / "take-over").stat().st_mode & 0o777) == "0o600"
        first.process.kill()
        first.process.wait()
        second = on.start()  # the socket of the first one is still there
        comes("no process to take over from", second)
        assert _call(second.url).status_code == 200
        none = run_to_end(tmp_path, "serve", "--take-over", ANTHROPIC_API_KEY="any")
        assert none.returncode == 2
        assert "TIDEGATE_STATE_DIR is not set" in none.stderr


def test_metrics_of_their_own_address_are_handed_over_and_a_new_port_is_opened(tmp_path: Path) -> None:
    with machine(tmp_path, TIDEGATE_METRICS_PORT="0") as on:
        first = on.start()
        second = on.start()
        assert first.process.wait(timeout=20) == 0
        assert second.place("metrics") == first.place("metrics")
        assert httpx2.get(second.place("metrics")).status_code == 200
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        on._port = str(port)
        third = on.start()
        assert third.url.endswith(f":{port}")
        comes("no longer listening on", third)
        assert _call(third.url).status_code == 200


def _call(url: str) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/messages", json=CALL, headers=HEADERS, timeout=60)


def _metric(service: ServiceProcess, name: str) -> float:
    text = httpx2.get(f"{service.url}/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def _comes_to(service: ServiceProcess, name: str, value: float) -> None:
    deadline = time.monotonic() + 20
    while (found := _metric(service, name)) != value:
        assert time.monotonic() < deadline, (name, found)
        time.sleep(0.05)


@contextmanager
def _endless_stream(url: str) -> Iterator[Iterator[bytes]]:
    """A stream that has begun, until the client leaves."""
    headers = {**HEADERS, "x-simulator-output-tokens": "100000"}
    body = {**CALL, "max_tokens": 100_000, "stream": True}
    with httpx2.stream("POST", f"{url}/v1/messages", json=body, headers=headers, timeout=60) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        yield pieces


def _waits(service: ServiceProcess, count: int) -> None:
    deadline = time.monotonic() + 20
    while _metric(service, "tidegate_queue_depth{") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
