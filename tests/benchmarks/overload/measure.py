"""The same service is offered a little more than its quota, then twenty times its quota."""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvloop

from benchmarks.overload import health
from benchmarks.overload.load import Calls
from support.processes import cpu_seconds
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator

__all__ = ["Overload", "Phase", "Plan", "measure"]

_QUOTA_PER_SECOND: Final = 50
_SCENARIO: Final = f"""\
[limits]
requests_per_minute = {60 * _QUOTA_PER_SECOND}
input_tokens_per_minute = 1_000_000_000
output_tokens_per_minute = 1_000_000_000
enforcement_seconds = 1

[latency]
first_token_seconds = 0.05
tokens_per_second = 1_000
"""
_RETURNING: Final = 20
"""How many refused clients come back after their `retry-after`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        rates: calls per second in each phase.
        seconds: how long each phase is measured.
        timeouts: how long clients wait, in seconds; each call draws one.
        settle_seconds: how long a load is applied before it is measured; longer than clients wait.
    """

    rates: tuple[float, ...] = (60, 1_000)
    seconds: float = 20
    timeouts: tuple[float, ...] = (1.0, 5.0, 5.0, 5.0)
    settle_seconds: float = 8


@dataclass(frozen=True, slots=True)
class Phase:
    """Figures of a time under constant load.

    Attributes:
        offered: calls started per second.
        goodput: successful responses per second.
        refused: refusals per second.
        cpu: CPU time of the service, as a share of a core.
        pages: latencies of `/healthz` and `/metrics` in seconds.
        refusal_seconds: how long refusals took.
    """

    offered: float
    goodput: float
    refused: float
    cpu: float
    pages: dict[str, list[float]]
    refusal_seconds: list[float]


@dataclass(frozen=True, slots=True)
class Overload:
    """What a run found.

    Attributes:
        phases: the figures of each phase.
        failed: calls that neither succeeded nor were refused with a `retry-after`.
        upstream_429s: refusals by the upstream.
        returned: last status of each client that came back after `retry-after`, at most twice, when the load had ended.
        retry_after: the `retry-after` of those, and the time that their clients would have waited.
    """

    phases: list[Phase]
    failed: list[str]
    upstream_429s: int
    returned: list[int]
    retry_after: list[tuple[float, float]]


def measure(directory: Path, plan: Plan) -> Overload:
    """Runs the service and a simulator with a quota of 50 requests per second under the loads of a plan."""
    scenario = directory / "scenario.toml"
    scenario.write_text(_SCENARIO, encoding="utf-8")
    variables = {"TIDEGATE_LOG_LEVEL": "warning"}
    with service_and_simulator(directory, options=(f"--scenario={scenario}",), variables=variables) as on:
        return uvloop.run(_run(on, plan))


async def _run(on: ServiceAndSimulator, plan: Plan) -> Overload:
    port = urlsplit(on.service.url).port
    assert port is not None
    calls = Calls(port, plan.timeouts)
    phases = [await _phase(on, calls, rate, plan) for rate in plan.rates]
    last = calls.refused[-_RETURNING:]
    returned = await asyncio.gather(*(_return(calls, *refusal[:3]) for refusal in last))
    await calls.finish()
    return Overload(
        phases=phases,
        failed=calls.failed,
        upstream_429s=sum(pool["rate_limited"] for pool in on.state()["pools"].values()),
        returned=returned,
        retry_after=[(after, timeout) for _, timeout, after, _ in last],
    )


async def _phase(on: ServiceAndSimulator, calls: Calls, per_second: float, plan: Plan) -> Phase:
    """Applies a load until the queue no longer grows, and then measures it."""
    load = asyncio.create_task(calls.run(per_second, plan.settle_seconds + plan.seconds))
    await asyncio.sleep(plan.settle_seconds)
    command = [sys.executable, health.__file__, f"--port={calls.port}", f"--seconds={plan.seconds:g}"]
    pages = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    started, refused = calls.started, len(calls.refused)
    begin, cpu = time.monotonic(), cpu_seconds(on.service.process.pid)
    await load
    end = time.monotonic()
    used = cpu_seconds(on.service.process.pid) - cpu
    output, _ = await pages.communicate()
    return Phase(
        offered=(calls.started - started) / (end - begin),
        goodput=calls.succeeded_between(begin, end) / (end - begin),
        refused=(len(calls.refused) - refused) / (end - begin),
        cpu=used / (end - begin),
        pages=json.loads(output),
        refusal_seconds=[refusal[3] for refusal in calls.refused[refused:]],
    )


async def _return(calls: Calls, refused_at: float, timeout_seconds: float, retry_after: float) -> int:
    """Comes back as SDKs do by default: twice, each time after `retry-after`, beside all others who were refused."""
    await asyncio.sleep(refused_at + retry_after - time.monotonic())
    answer = await calls.call(timeout_seconds)
    if answer.status != 200 and "retry-after" in answer.headers:
        await asyncio.sleep(float(answer.headers["retry-after"]))
        answer = await calls.call(timeout_seconds)
    return answer.status
