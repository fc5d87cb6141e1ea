"""One run of the soak: the processes, the load, the disturbances beside it, and what is left at the end."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import uvloop

from benchmarks.gateway import bare_relay
from benchmarks.gateway.processes import free_port
from soak.books import ADMIN_KEY, Batches, differences
from soak.load import CALLERS, FAULTS, Kind, Load
from soak.verdicts import Sample
from soak.watch import Watch
from support.processes import sockets_of
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from tidegate.identity.identify import key_hash

__all__ = ["Found", "Plan", "soak"]

_SAMPLE_SECONDS: Final = 5
_RATE_LIMIT_SECONDS: Final = 20
_BATCH_SECONDS: Final = 60
_BROKEN_EVERY: Final = 4
"""Every fourth reload finds a broken file."""
_READY_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        seconds: how long calls are started.
        per_second: how many.
        reload_seconds: time between reloads.
        seed: draws the calls.
        faults: of the simulator.
    """

    seconds: float
    per_second: float
    reload_seconds: float = 30.0
    seed: int = 1
    faults: tuple[str, ...] = FAULTS


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found.

    Attributes:
        samples: of the service under load.
        started: calls started.
        load_seconds: from the first call to the end of the last.
        ends: how calls ended, by kind.
        lost: texts of the first calls that failed although nothing was wrong with them.
        reloads: reloads in the log, by the beginning of their line.
        apart: tokens by which the ledger differs from other books.
        left: what the service still holds after the load, in addition to what it held before.
        tracebacks: in its log.
    """

    samples: list[Sample]
    started: int
    load_seconds: float
    ends: Counter[tuple[Kind, str]]
    lost: list[str]
    reloads: Counter[str]
    apart: dict[str, int]
    left: dict[str, float]
    tracebacks: int


def soak(directory: Path, plan: Plan) -> Found:
    """Runs the service and a simulator as processes under the load of a plan."""
    file = directory / "tidegate.toml"
    file.write_text(_config(0), encoding="utf-8")
    limits = ("--requests-per-minute=600000", "--output-tokens-per-minute=500000000")
    variables = {
        "TIDEGATE_CONFIG": str(file),
        "TIDEGATE_STATE_DIR": str(directory / "state"),
        "TIDEGATE_ADMIN_KEY": ADMIN_KEY,
        "TIDEGATE_READ_ON_SECONDS": "60",
    }
    with (
        service_and_simulator(directory, per_token_seconds=0.002, options=limits, variables=variables) as on,
        _bare_relay(on.simulator.url) as bare_port,
    ):
        return uvloop.run(_under_load(on, bare_port, file, plan))


async def _under_load(on: ServiceAndSimulator, bare_port: int, file: Path, plan: Plan) -> Found:
    pid, port = on.service.process.pid, urlsplit(on.service.url).port
    assert port is not None
    load = Load(port, plan.per_second, random.Random(plan.seed), plan.faults)  # noqa: S311
    watch, batches = Watch(pid, port, bare_port), Batches(on.service.url)
    started = time.monotonic()
    async with asyncio.TaskGroup() as beside:
        tasks = [
            beside.create_task(watch.run(_SAMPLE_SECONDS)),
            beside.create_task(_reload(pid, file, plan.reload_seconds)),
            beside.create_task(_limit_rate(on.simulator.url)),
            beside.create_task(batches.run(_BATCH_SECONDS)),
            beside.create_task(_report(watch, load, plan)),
        ]
        await load.run(plan.seconds)
        load_seconds = time.monotonic() - started
        for task in tasks:
            task.cancel()
    with contextlib.suppress(AssertionError):  # reported as what is left
        await asyncio.to_thread(on.comes_to_rest)
    printed = on.service.printed()
    events = [json.loads(line)["event"] for line in printed.splitlines() if '"tidegate.reload"' in line]
    return Found(
        samples=watch.samples,
        started=load.started,
        load_seconds=load_seconds,
        ends=load.ends,
        lost=load.lost,
        reloads=Counter(event.partition(":")[0].partition(",")[0] for event in events),
        apart=await asyncio.to_thread(differences, on, batches),
        left={
            "client connections": sockets_of(pid).inbound.total(),  # first: each scrape below is a connection as well
            "tasks": on.tasks_of_calls(),
            "leases": sum(on.metrics("tidegate_in_flight").values()),
            "waiting requests": sum(on.metrics("tidegate_queue_depth").values()),
        },
        tracebacks=printed.count("Traceback"),
    )


async def _reload(pid: int, file: Path, every_seconds: float) -> None:
    """Reloads other values each time, and a broken file now and then."""
    number = 0
    while True:
        await asyncio.sleep(every_seconds)
        number += 1
        new = file.with_suffix(".new")
        new.write_text(_config(number) if number % _BROKEN_EVERY else "callers = [", encoding="utf-8")
        new.replace(file)
        os.kill(pid, signal.SIGHUP)


def _config(number: int) -> str:
    lines = ['log_format = "json"', f"max_calls = {5_000 + number % 7}"]
    for index, name in enumerate(CALLERS):
        weight = 1.0 + (number + index) % 4
        lines += ["[[callers]]", f'name = "{name}"', f'key_sha256 = "{key_hash(name)}"', f"weight = {weight}"]
    return "\n".join(lines)


async def _limit_rate(simulator_url: str) -> None:
    """Lets the upstream refuse a call with 429 now and then; the pool is frozen for a second, and calls wait."""
    async with httpx2.AsyncClient(timeout=120) as http:
        while True:
            await asyncio.sleep(_RATE_LIMIT_SECONDS)
            fault = {"kind": "rate_limited", "count": 1}
            (await http.post(f"{simulator_url}/simulator/faults", json=fault)).raise_for_status()


async def _report(watch: Watch, load: Load, plan: Plan) -> None:
    """Reports progress on stderr, once a minute."""
    while True:
        await asyncio.sleep(60)
        sample = watch.samples[-1]
        sys.stderr.write(
            f"{sample.at_seconds / 60:.0f} of {plan.seconds / 60:.0f} min: {load.started:,} calls, "
            f"{sample.resident_bytes / 1_048_576:.1f} MB, {sample.tasks} tasks, {sample.series} series\n"
        )


@contextlib.contextmanager
def _bare_relay(upstream: str) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, bare_relay.__file__, "--port", str(port), "--upstream", upstream],
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bare relay does not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
