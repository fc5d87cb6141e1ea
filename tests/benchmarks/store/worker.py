"""One process of the benchmark. Prints `ready`, reads the time at which the load begins, and prints its results.

python -m benchmarks.store.worker '{"port": 6379, "limiter": "tidegate", "name": "r1", ...}'
"""

import asyncio
import cProfile
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.store.limiters import LIMITERS, NARROW, WIDE, Reserve, open_store

__all__ = ["Found", "Job"]

_RETRY_SECONDS = 0.002
"""Pause after a refusal."""


class Job(Struct, frozen=True):
    """What the process does.

    Attributes:
        folder: see above.
        port: of the server.
        limiter: its name.
        name: of the process, unique in the run.
        seconds: length of each phase.
        leads: it only leads, and makes no load.
        tasks: callers that make call after call in the first phase, and in the last one.
        per_second: calls per second in the second phase.
        streams: the port of a server whose bytes it echoes on 500 connections meanwhile; 0: none.
        profile: file for a profile.
    """

    folder: str
    port: int
    limiter: str
    name: str
    seconds: float
    tasks: int
    per_second: float
    leads: bool = False
    streams: int = 0
    profile: str = ""

    def path(self, kind: str) -> Path:
        """A file of this process."""
        return Path(self.folder) / f"{self.name}.{kind}"

    def phase(self, number: int) -> tuple[float, float]:
        """Begin and end of a phase, from the begin of the load. Between two there is a second."""
        begin = number * (self.seconds + 1)
        return begin, begin + self.seconds


class Found(Struct):
    """The results of a process. Latencies are of reservations, in seconds.

    Attributes:
        pairs: how many calls were reserved and settled in the first phase.
        busy: latencies in the first phase.
        steady: latencies in the second phase, from the time at which a call was due.
        admitted: times of admissions under the narrow quota.
        cpu_seconds: used in the first phase.
        slowest_turn: the longest time by which the event loop was late in the second phase.
    """

    pairs: int = 0
    busy: list[float] = []
    steady: list[float] = []
    admitted: list[float] = []
    cpu_seconds: float = 0.0
    slowest_turn: float = 0.0


async def _run(job: Job) -> Found:
    found = Found()
    if job.leads:
        async with open_store(job.port, job.name):
            begin = await _begin(job)
            echoing = [asyncio.create_task(_echo(job.streams)) for _ in range(500 if job.streams else 0)]
            await _phases(job, begin, found, [_idle, _watch_turns, _idle])
            for task in echoing:
                task.cancel()
        return found
    async with LIMITERS[job.limiter].open(job.port, job.name) as reserve:
        begin = await _begin(job)

        async def busy(end: float) -> None:
            await asyncio.gather(*(_call_busily(reserve, end, found) for _ in range(job.tasks)))

        async def steady(end: float) -> None:
            await _call_steadily(reserve, end, job.per_second, found)

        async def narrow(end: float) -> None:
            await asyncio.gather(*(_call_narrowly(reserve, end, found) for _ in range(job.tasks)))

        await _phases(job, begin, found, [busy, steady, narrow])
    return found


async def _begin(job: Job) -> float:
    job.path("ready").touch()
    begin = Path(job.folder) / "begin"
    while not begin.exists():  # noqa: ASYNC110 - it is made by another process
        await asyncio.sleep(0.01)
    return float(begin.read_text())


async def _phases(job: Job, begin: float, found: Found, phases: list[Callable[..., Awaitable[None]]]) -> None:
    for number, phase in enumerate(phases):
        first, last = job.phase(number)
        await asyncio.sleep(begin + first - time.monotonic())
        before = time.process_time()
        end = begin + last
        await (phase(end, found) if job.leads else phase(end))
        if number == 0:
            found.cpu_seconds = time.process_time() - before


async def _idle(end: float, _found: Found) -> None:
    await asyncio.sleep(end - time.monotonic())


async def _watch_turns(end: float, found: Found) -> None:
    while (now := time.monotonic()) < end:
        await asyncio.sleep(0.001)
        found.slowest_turn = max(found.slowest_turn, time.monotonic() - now - 0.001)


async def _call_busily(reserve: Reserve, end: float, found: Found) -> None:
    while (asked := time.monotonic()) < end:
        settle = await reserve(WIDE)
        found.busy.append(time.monotonic() - asked)
        if settle is not None:
            await settle()
            found.pairs += 1


async def _call_steadily(reserve: Reserve, end: float, per_second: float, found: Found) -> None:
    async def call(due: float) -> None:
        settle = await reserve(WIDE)
        found.steady.append(time.monotonic() - due)
        if settle is not None:
            await settle()

    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while due < end:
            await asyncio.sleep(due - time.monotonic())
            group.create_task(call(max(due, time.monotonic() - 0.001)))  # no timer is more precise
            due += 1 / per_second


async def _call_narrowly(reserve: Reserve, end: float, found: Found) -> None:
    while time.monotonic() < end:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + end - time.monotonic()):
                settle = await reserve(NARROW)
        except TimeoutError:
            return
        if settle is None:
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            found.admitted.append(time.monotonic())
            await settle()


async def _echo(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    finally:
        writer.close()


def main() -> None:
    """Does the job that the first argument describes, as JSON."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    profile = cProfile.Profile() if job.profile else None
    if profile is not None:
        profile.enable()
    found = uvloop.run(_run(job))
    if profile is not None:
        profile.disable()
        profile.dump_stats(Path(job.profile))
    job.path("found").write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
