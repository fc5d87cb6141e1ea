"""Replaces the service by `tidegate serve --take-over`: one process takes the sockets and calls of the other."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2

from restarts.behind_nginx import Outcome, folder_in, simulator_in
from restarts.load import Load, running_load
from support.service_process import ServiceProcess, running

__all__ = ["restart_by_hand_over"]


async def restart_by_hand_over(
    directory: Path, load: Load, restarts: int, between_seconds: float, report: Callable[[str], None] = print
) -> Outcome:
    """Replaces the process under load, each time after `between_seconds`. Old processes end with their last call."""
    with ExitStack() as stack:
        simulator = stack.enter_context(simulator_in(directory, load.seconds_per_token))
        processes = _Processes(directory, simulator.url, stack)
        await processes.start()
        async with running_load(processes.running[0].url, load) as counts:
            outcome = Outcome(counts)
            for number in range(1, restarts + 1):
                await asyncio.sleep(between_seconds)
                began = time.monotonic()
                await processes.start()
                outcome.open_calls.append(await asyncio.to_thread(processes.open_calls))
                report(
                    f"{time.strftime('%H:%M:%S')} hand-over {number}: {outcome.open_calls[-1]} open calls stay, "
                    f"started in {time.monotonic() - began:.1f} s; so far {counts}"
                )
            await asyncio.sleep(between_seconds)
        outcome.exit_codes = await asyncio.to_thread(processes.exit_codes)
        pools = httpx2.get(f"{simulator.url}/simulator/state").json()["pools"].values()
        outcome.rate_limited = sum(pool["rate_limited"] for pool in pools)
    return outcome


class _Processes:
    """The processes of the service, each of which takes over from the one before it."""

    def __init__(self, directory: Path, upstream: str, stack: ExitStack) -> None:
        self.running: list[ServiceProcess] = []
        self._directory = directory
        self._stack = stack
        self._port = "0"
        self._variables = {
            "ANTHROPIC_API_KEY": "any",
            "TIDEGATE_UPSTREAM_URL": upstream,
            "TIDEGATE_STATE_DIR": str(directory / "state"),
        }

    async def start(self) -> None:
        """Starts a process. Returns when it serves."""
        place = folder_in(self._directory, f"service-{len(self.running)}")
        options = ("serve", "--take-over", "--port", self._port)
        process = await asyncio.to_thread(self._stack.enter_context, running(place, *options, **self._variables))
        self._port = process.url.rpartition(":")[2]
        self.running.append(process)

    def open_calls(self) -> int:
        """The calls that the last process but one had when it was replaced."""
        deadline = time.monotonic() + 30
        while (found := re.search(r"(\d+) open calls have", self.running[-2].printed())) is None:
            assert time.monotonic() < deadline, self.running[-2].printed()
            time.sleep(0.05)
        return int(found[1])

    def exit_codes(self) -> list[int]:
        """Waits for all replaced processes."""
        return [process.process.wait(timeout=120) for process in self.running[:-1]]
