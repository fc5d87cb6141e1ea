"""Restarts the service by SIGTERM behind an nginx that checks `/readyz`. The second server is a bare relay."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from benchmarks.gateway.processes import free_port
from restarts.load import Counts, Load, running_load
from restarts.nginx import HealthCheck, checked, nginx, wait_until_open
from support.service_process import ServiceProcess, environment, running

__all__ = ["Outcome", "folder_in", "restart_behind_nginx", "simulator_in"]

_BARE_RELAY: Final = Path(__file__).parents[1] / "benchmarks/gateway/bare_relay.py"
_SIMULATOR: Final = (
    "simulator",
    "--requests-per-minute=60000",
    "--input-tokens-per-minute=500000000",
    "--output-tokens-per-minute=50000000",
)


@dataclass
class Outcome:
    """What became of the load.

    Attributes:
        counts: what clients noticed.
        open_calls: calls that the service still had at each restart.
        rate_limited: 429s of the upstream.
        exit_codes: of the service, for each restart.
    """

    counts: Counts
    open_calls: list[int] = field(default_factory=list)
    rate_limited: int = 0
    exit_codes: list[int] = field(default_factory=list)

    @property
    def is_proof(self) -> bool:
        """Whether nothing was lost, and every restart was in order."""
        return not self.counts.lost and not self.rate_limited and not any(self.exit_codes)

    def __str__(self) -> str:
        return (
            f"{self.counts}; open calls at each restart {self.open_calls}; {self.rate_limited} 429s of the upstream; "
            f"exit codes {self.exit_codes}"
        )


async def restart_behind_nginx(
    directory: Path, load: Load, restarts: int, between_seconds: float, report: Callable[[str], None] = print
) -> Outcome:
    """Restarts the service under load.

    Each restart takes as long as the service's streams. Then it serves for `between_seconds`.
    """
    with ExitStack() as stack:
        simulator = stack.enter_context(simulator_in(directory, load.seconds_per_token))
        second = stack.enter_context(_bare_relay(simulator.url))
        port, front = free_port(), free_port()
        stack.enter_context(nginx(folder_in(directory, "nginx"), front, port, second))
        check = stack.enter_context(checked(directory / "nginx", port))
        restarted = _Service(directory, simulator.url, port)
        async with restarted.running(), running_load(f"http://127.0.0.1:{front}", load) as counts:
            outcome = Outcome(counts)
            for number in range(1, restarts + 1):
                await check.wait_until(is_ready=True)
                await asyncio.sleep(between_seconds)
                began = time.monotonic()
                outcome.open_calls.append(await restarted.stop(check))
                outcome.exit_codes.append(restarted.exit_code)
                drained = time.monotonic()
                await restarted.start()
                report(
                    f"{time.strftime('%H:%M:%S')} restart {number}: {outcome.open_calls[-1]} open calls drained in "
                    f"{drained - began:.1f} s, started in {time.monotonic() - drained:.1f} s; so far {counts}"
                )
            await check.wait_until(is_ready=True)
        pools = httpx2.get(f"{simulator.url}/simulator/state").json()["pools"].values()
        outcome.rate_limited = sum(pool["rate_limited"] for pool in pools)
    return outcome


class _Service:
    """The service on one port, started again and again with the same state folder."""

    def __init__(self, directory: Path, upstream: str, port: int) -> None:
        self.exit_code = 0
        self._directory = directory
        self._variables = {
            "ANTHROPIC_API_KEY": "any",
            "TIDEGATE_UPSTREAM_URL": upstream,
            "TIDEGATE_STATE_DIR": str(directory / "state"),
            "TIDEGATE_DRAIN_NOTICE_SECONDS": "5",
        }
        self._port = port
        self._starts = 0
        self._context: AbstractContextManager[ServiceProcess]
        self._process: ServiceProcess

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Has it running from the beginning of a block until its end."""
        await self.start()
        try:
            yield
        finally:
            self._context.__exit__(None, None, None)

    async def start(self) -> None:
        self._starts += 1
        place = folder_in(self._directory, f"service-{self._starts}")
        self._context = running(place, "serve", "--port", str(self._port), **self._variables)
        self._process = await asyncio.to_thread(self._context.__enter__)

    async def stop(self, check: HealthCheck) -> int:
        """Returns the number of calls that were open when nginx knew that no more may come."""
        process = self._process.process
        os.kill(process.pid, signal.SIGTERM)
        await check.wait_until(is_ready=False)
        open_calls = re.search(r"waiting for (\d+) open call", self._process.printed())
        self.exit_code = await asyncio.to_thread(process.wait)
        self._context.__exit__(None, None, None)
        return int(open_calls[1]) if open_calls else 0


def folder_in(directory: Path, name: str) -> Path:
    """A new folder."""
    made = directory / name
    made.mkdir()
    return made


def simulator_in(directory: Path, seconds_per_token: float) -> AbstractContextManager[ServiceProcess]:
    """Runs a simulator with wide limits."""
    return running(folder_in(directory, "simulator"), *_SIMULATOR, f"--per-token-seconds={seconds_per_token}")


@contextmanager
def _bare_relay(upstream: str) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, _BARE_RELAY, "--port", str(port), "--upstream", upstream], env=environment()
    )
    try:
        wait_until_open(port)
        yield port
    finally:
        process.kill()
        process.wait()
