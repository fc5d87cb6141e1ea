"""Takes samples of the service while it is under load."""

import asyncio
import re
import time
import urllib.request
from typing import Final

from soak.load import CALLERS, PROBE_MODEL
from soak.verdicts import Sample
from support.http_connections import Connections, message_request
from support.processes import cpu_seconds, descriptors_of, resident_kb

__all__ = ["Watch"]

_PROBES_PER_SECOND: Final = 10
_ONLY_WHILE_OPEN: Final = ("tidegate_oldest_lease_seconds", "tidegate_queue_oldest_seconds")
"""Series that exist only while a pool has a lease or a waiter."""


class Watch:
    """Samples the service and probes it beside a bare relay to the same upstream.

    Args:
        pid: of the service.
        port: of the service.
        bare_port: of the bare relay.

    Attributes:
        samples: taken so far.
    """

    def __init__(self, pid: int, port: int, bare_port: int) -> None:
        self._pid = pid
        self._port = port
        self._connections = {port: Connections(port), bare_port: Connections(bare_port)}
        self._probed: dict[int, list[float]] = {port: [], bare_port: []}
        self._bare_port = bare_port
        self._started = time.monotonic()
        self.samples: list[Sample] = []

    async def run(self, every_seconds: float) -> None:
        """Takes samples and probes until it is cancelled."""
        probing = asyncio.create_task(self._probe_repeatedly())
        try:
            while True:
                await asyncio.sleep(every_seconds)
                self.samples.append(await self.sample())
        finally:
            probing.cancel()
            for connections in self._connections.values():
                connections.close()

    async def sample(self) -> Sample:
        """The service now."""
        text = await asyncio.to_thread(_scrape, self._port)
        values = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        bare, relayed = self._probed[self._bare_port], self._probed[self._port]
        self._probed = {port: [] for port in self._probed}
        return Sample(
            at_seconds=time.monotonic() - self._started,
            resident_bytes=resident_kb(self._pid) * 1_024,
            descriptors=descriptors_of(self._pid),
            tasks=round(sum(float(value) for name, value in values if name == "tidegate_event_loop_tasks")),
            series=sum(not name.startswith(_ONLY_WHILE_OPEN) for name, _ in values),
            leases=round(sum(float(value) for name, value in values if name.startswith("tidegate_in_flight"))),
            cpu_seconds=cpu_seconds(self._pid),
            overhead=_overhead(values),
            bare_seconds=bare,
            relayed_seconds=relayed,
        )

    async def _probe_repeatedly(self) -> None:
        fields = {"x-api-key": CALLERS[0], "x-simulator-output-tokens": "1"}
        requests = {port: message_request(port, PROBE_MODEL, 1_000, fields) for port in self._connections}
        while True:
            for port, request in requests.items():
                await asyncio.sleep(1 / _PROBES_PER_SECOND / len(requests))
                started = time.perf_counter()
                answer = await self._connections[port].call(request)
                if answer.status == 200:
                    self._probed[port].append(time.perf_counter() - started)


def _overhead(values: list[list[str]]) -> dict[float, float]:
    found = {}
    for name, value in values:
        if match := re.fullmatch(r'tidegate_overhead_seconds_bucket\{le="(.*)",route="/v1/messages"\}', name):
            found[float(match[1])] = float(value)
    return found


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120) as answer:
        return str(answer.read().decode())
