"""Runs the processes of one measurement."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks.store.limiters import OURS
from benchmarks.store.worker import Found, Job

__all__ = ["Measured", "Plan", "measure"]

_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
_PHASES: Final = 3
_BEGIN_SECONDS: Final = 0.5
_END_SECONDS: Final = 30.0
_START_SECONDS: Final = 60.0


class Plan(NamedTuple):
    """What is measured: see `Job`."""

    port: int
    limiter: str
    processes: int
    seconds: float
    tasks: int
    per_second: float
    streams: bool = False
    profile: str = ""


class Measured(NamedTuple):
    """The results of the processes that make calls, and of the one that leads, if any does."""

    plan: Plan
    followers: list[Found]
    leader: Found | None


def measure(plan: Plan) -> Measured:
    """Starts the processes, and waits for their results.

    Raises:
        RuntimeError: a process has failed, or takes too long. Its error went to stderr.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        streams = stack.enter_context(_streams()) if plan.streams else 0
        leads = plan.limiter == OURS
        names = (["leader"] if leads else []) + [f"p{number}" for number in range(plan.processes)]
        jobs = [_job(plan, folder, name, streams) for name in names]
        started = []
        for job in jobs:  # the first to start takes the lead
            started.append(stack.enter_context(_process(job)))
            _wait_for(job.path("ready"), started, _START_SECONDS)
        begin = folder / "begin.new"
        begin.write_text(str(time.monotonic() + _BEGIN_SECONDS))
        begin.rename(folder / "begin")
        for process in started:
            process.wait(jobs[0].phase(_PHASES)[0] + _END_SECONDS)
        found = [msgspec.json.decode(job.path("found").read_bytes(), type=Found) for job in jobs]
    return Measured(plan, found[1:], found[0]) if leads else Measured(plan, found, None)


def _job(plan: Plan, folder: Path, name: str, streams: int) -> Job:
    return Job(
        folder=str(folder),
        port=plan.port,
        limiter=plan.limiter,
        name=f"{name}-{time.monotonic_ns()}",
        seconds=plan.seconds,
        tasks=plan.tasks,
        per_second=plan.per_second / plan.processes,
        leads=name == "leader",
        streams=streams,
        profile=str(Path(plan.profile) / f"{plan.limiter} {name}.pstats") if plan.profile else "",
    )


@contextmanager
def _process(job: Job) -> Iterator["subprocess.Popen[bytes]"]:
    program = [sys.executable, "-m", "benchmarks.store.worker", msgspec.json.encode(job).decode()]
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, env=_ENVIRONMENT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(path: Path, processes: Sequence["subprocess.Popen[bytes]"], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
            raise RuntimeError(f"{path.name} was not made within {seconds:g} s; an error may be above")
        time.sleep(0.01)


@contextmanager
def _streams() -> Iterator[int]:
    """A process that sends events on each connection to the port that this yields."""
    program = [sys.executable, "-m", "benchmarks.store.event_source"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()
