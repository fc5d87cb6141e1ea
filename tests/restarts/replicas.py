"""Restarts two replicas with a shared store by SIGTERM, one after the other, behind the load balancer of `deploy/`."""

import asyncio
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2

from restarts.behind_nginx import Outcome, folder_in, simulator_in
from restarts.haproxy import haproxy
from restarts.load import Load, running_load
from support.service_process import ServiceProcess, running
from support.valkey_server import valkey_server

__all__ = ["restart_replicas"]

_REPLICAS = 2
_JOIN_SECONDS = 3.0
"""The load balancer sends calls to a replica that is ready within two checks."""


async def restart_replicas(
    directory: Path, load: Load, restarts: int, between_seconds: float, report: Callable[[str], None] = print
) -> Outcome:
    """Restarts the replicas in turn under load. After each restart, both serve for `between_seconds`."""
    with ExitStack() as stack:
        simulator = stack.enter_context(simulator_in(directory, load.seconds_per_token))
        store = stack.enter_context(valkey_server(folder_in(directory, "store")))
        variables = {
            "ANTHROPIC_API_KEY": "any",
            "TIDEGATE_UPSTREAM_URL": simulator.url,
            "TIDEGATE_STORE_URL": f"valkey://127.0.0.1:{store}",
            "TIDEGATE_DRAIN_NOTICE_SECONDS": "5",
        }

        def start(name: str, port: str = "0") -> ServiceProcess:
            return stack.enter_context(running(folder_in(directory, name), "serve", "--port", port, **variables))

        replicas = [await asyncio.to_thread(start, f"replica-{number}") for number in range(_REPLICAS)]
        ports = [replica.url.rpartition(":")[2] for replica in replicas]
        url = stack.enter_context(haproxy(directory, *map(int, ports)))
        await asyncio.sleep(_JOIN_SECONDS)
        async with running_load(url, load) as counts:
            outcome = Outcome(counts)
            for number in range(restarts):
                await asyncio.sleep(between_seconds)
                began, which = time.monotonic(), number % _REPLICAS
                replicas[which].process.send_signal(signal.SIGTERM)
                outcome.exit_codes.append(await asyncio.to_thread(replicas[which].process.wait))
                open_calls = re.search(r"waiting for (\d+) open call", replicas[which].printed())
                outcome.open_calls.append(int(open_calls[1]) if open_calls else 0)
                drained = time.monotonic()
                replicas[which] = await asyncio.to_thread(start, f"restart-{number}", ports[which])
                report(
                    f"{time.strftime('%H:%M:%S')} restart {number + 1}: {outcome.open_calls[-1]} open calls drained in "
                    f"{drained - began:.1f} s, started in {time.monotonic() - drained:.1f} s; so far {counts}"
                )
                await asyncio.sleep(_JOIN_SECONDS)
        pools = httpx2.get(f"{simulator.url}/simulator/state").json()["pools"].values()
        outcome.rate_limited = sum(pool["rate_limited"] for pool in pools)
    return outcome
