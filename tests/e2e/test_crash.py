"""The service is killed under load and started again, while the simulator keeps running and counting."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from benchmarks.overload.load import message_call
from support.http_connections import Connections
from support.service_process import ServiceProcess, running

PER_SECOND = 20
CLIENTS = 60
SCENARIO = """\
[limits]
requests_per_minute = {per_minute}
input_tokens_per_minute = 1_000_000_000
output_tokens_per_minute = 1_000_000_000
enforcement_seconds = 5

[latency]
first_token_seconds = 0.02
tokens_per_second = 1_000

[headers]
visible = {visible}
"""


async def load(service: ServiceProcess, seconds: float) -> Counter[int]:
    """How calls end while many clients call again and again; 0: the connection broke. Kills the service at the end."""
    port = urlsplit(service.url).port
    assert port is not None
    connections, ends = Connections(port), Counter[int]()
    request = message_call(port, timeout_seconds=60, body_bytes=100)

    async def client() -> None:
        while service.process.poll() is None:
            ends[(await connections.call(request)).status] += 1

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    async with asyncio.timeout(60):
        while await asyncio.to_thread(gauge, service, "pool_probing") != 0:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.1)
    await asyncio.sleep(seconds)  # the state is saved every 2 s
    service.process.kill()
    service.process.wait()
    await asyncio.gather(*clients, return_exceptions=True)  # refused connections
    connections.close()
    return ends


@dataclass
class Upstream:
    """What the simulator has counted."""

    url: str

    def counts(self) -> tuple[int, int]:
        """Requests accepted and refused."""
        (pool,) = httpx2.get(f"{self.url}/simulator/state").json()["pools"].values()
        return pool["requests"], pool["rate_limited"]


def gauge(service: ServiceProcess, name: str, labels: str = 'pool="sonnet-5-5"') -> float | None:
    """The value of a metric; None if there is none."""
    text = httpx2.get(f"{service.url}/metrics").text
    found = re.search(rf"^tidegate_{name}{{{labels}}} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


@pytest.mark.parametrize(
    ("visible", "before_seconds", "after_seconds", "least_share"),
    [
        (True, 2.5, 2.5, 0.4),  # beside other tests
        pytest.param(True, 20.0, 55.0, 0.7, marks=[pytest.mark.clients, pytest.mark.timeout(300)]),
        pytest.param(False, 80.0, 55.0, 0.7, marks=[pytest.mark.clients, pytest.mark.timeout(300)]),
    ],
    ids=["quick", "reported limit", "searched limit"],
)
def test_a_killed_service_continues_with_its_limits(
    tmp_path: Path, *, visible: bool, before_seconds: float, after_seconds: float, least_share: float
) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO.format(per_minute=60 * PER_SECOND, visible=str(visible).lower()), encoding="utf-8")
    places = [tmp_path / name for name in ("simulator", "before", "after", "new")]
    for place in places:
        place.mkdir()
    with running(places[0], "simulator", f"--scenario={scenario}") as simulator:
        upstream = Upstream(simulator.url)
        variables = {"ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": simulator.url}
        state = {"TIDEGATE_STATE_DIR": str(tmp_path / "state")}
        with running(places[1], "serve", **variables, **state) as service:
            ends = asyncio.run(load(service, before_seconds))
        assert ends[200] > least_share * PER_SECOND * before_seconds, ends
        accepted_before, refused_before = upstream.counts()

        with running(places[2], "serve", **variables, **state) as service:
            assert gauge(service, "pool_probing") == 0
            if visible:
                labels = 'dimension="requests",pool="sonnet-5-5",source="upstream"'
                assert gauge(service, "limit_per_minute", labels) == 60 * PER_SECOND
            ends = asyncio.run(load(service, after_seconds))
            assert "restored the state of" in service.printed()
        accepted, refused = (
            now - then for now, then in zip(upstream.counts(), (accepted_before, refused_before), strict=True)
        )
        assert ends[200] > least_share * PER_SECOND * after_seconds, ends
        assert accepted >= ends[200]
        assert refused <= max(2, 0.005 * (accepted + refused)), "a burst, or a search from the beginning"

        with running(places[3], "serve", **variables) as service:
            assert gauge(service, "pool_probing") is None, "without its state it would know no limit"
