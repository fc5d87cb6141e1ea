"""Replicas on a real Valkey share one limit, one queue and one configuration."""

import asyncio
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest

from chaos.cases import CASES
from chaos.load import Clients, calling
from chaos.scene import PER_MINUTE, play, scene
from chaos.servers import Server
from restarts.load import Load, running_load
from support.service_process import ServiceProcess, run_to_end, running

URL = "valkey://127.0.0.1:{port}"
STATUS = "/api/system/rate-limiting/status"
CONFIGURE = "/api/system/rate-limiting/configure"

pytestmark = pytest.mark.stores


@pytest.mark.parametrize("count", [2, 4])
def test_replicas_use_one_limit_exactly(count: int, store: Server, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, URL, store, count, callers=3) as on:
            outcome = await play(on, CASES["nothing"], 8)
        assert (outcome.rate_limited, outcome.lost) == (0, {}), str(outcome)
        assert outcome.requests <= outcome.most, str(outcome)
        assert outcome.requests >= 0.9 * outcome.seconds * PER_MINUTE / 60, str(outcome)

    asyncio.run(main())


def test_a_light_caller_at_one_replica_does_not_wait_behind_a_flood_at_the_others(
    store: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        async with scene(tmp_path, URL, store, 3, callers=25) as on:
            for replica in on.replicas[:2]:
                replica.clients.key, replica.clients.streams = "flood", 0
            light = on.replicas[2].clients
            light.key, light.callers, light.streams = "light", 1, 0
            await play(on, CASES["nothing"], 8)
        flood = on.replicas[0].clients.waits
        assert sorted(flood)[len(flood) // 2] > 2.5, "there is no flood"
        assert max(light.waits) < 1.5, sorted(light.waits)
        assert len(light.waits) > 10

    asyncio.run(main())


def test_what_one_replica_is_told_holds_for_all_and_survives_their_restart(store: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = _replicas(stack, tmp_path, store, 2)
        _post(first.url + CONFIGURE, {"pool": "sonnet-5-5", "requests_per_minute": 33})
        _post(second.url + CONFIGURE, {"requests_per_minute": 7, "base_delay": 1.5})
        for replica in (first, second):
            _comes_true(partial(_is_configured, replica, "sonnet-5-5", 33))
            _comes_true(partial(_is_configured, replica, "default", 7))
            assert httpx2.get(replica.url + STATUS).json()["configuration"]["base_delay"] == 1.5
    with ExitStack() as stack:
        (third,) = _replicas(stack, tmp_path / "later", store, 1)
        _comes_true(partial(_is_configured, third, "sonnet-5-5", 33))
        assert _configured(third, "default") == 7
        found = httpx2.get(third.url + STATUS).json()
        assert found["configuration"]["base_delay"] == 1.5
        assert found["pools"]["sonnet-5-5"]["set_at_runtime"]["requests_per_minute"]["by"]
        _comes_true(lambda: httpx2.get(third.url + STATUS).json()["shared_store"]["replicas"] == 1)


def test_leases_of_a_replica_end_at_once_when_it_leaves(store: Server, tmp_path: Path) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            first, second = _replicas(stack, tmp_path, store, 2)
            stream = Clients(first.url, callers=0, streams=1, stream_tokens=3_000)
            async with calling(stream):
                await asyncio.to_thread(_comes_true, lambda: _in_flight(second) == 1)
                for _ in range(2):  # the second signal ends calls without a wait
                    first.process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.3)
                left = time.monotonic()
                await asyncio.to_thread(_comes_true, lambda: _in_flight(second) == 0)
                assert time.monotonic() - left < 4  # without a word it would take 5 s, and up to 1 s to the next report
                assert await asyncio.to_thread(first.process.wait, 20) == 0

    asyncio.run(main())


def test_a_process_takes_over_from_another_one_as_a_further_replica(store: Server, tmp_path: Path) -> None:
    state = {"TIDEGATE_STATE_DIR": str(tmp_path / "state"), "TIDEGATE_LEDGER": "off"}

    async def main() -> None:
        with ExitStack() as stack:
            (first,) = _replicas(stack, tmp_path, store, 1, **state)
            load = Load(streams=4, stream_seconds=3, calls_per_second=8, retries=0, seconds_per_token=0.05)
            async with running_load(first.url, load) as counts:
                await asyncio.sleep(1.5)
                port = first.url.rpartition(":")[2]
                options = ("--take-over", "--port", port)
                (second,) = await asyncio.to_thread(_replicas, stack, tmp_path / "next", store, 1, *options, **state)
                await asyncio.sleep(1.5)
            assert counts.lost == 0, str(counts)
            assert counts.calls > 10
            assert await asyncio.to_thread(first.process.wait, 20) == 0
            assert "has taken over" in first.printed()
            assert httpx2.get(second.url + STATUS).json()["shared_store"]["is_leader"]

    asyncio.run(main())


def test_another_store_needs_a_restart_and_no_log_shows_the_password(store: Server, tmp_path: Path) -> None:
    store.client.config_set("requirepass", "hunter2")
    url = f"valkey://:hunter2@127.0.0.1:{store.port}"
    secret = tmp_path / "secret"
    secret.write_text(url)
    with running(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_STORE_URL_FILE=str(secret)) as service:
        secret.write_text(url.replace("hunter2", "hunter3"))
        answer = _post(f"{service.url}/api/system/reload", None)
        assert answer["needs_restart"] == [{"setting": "store_url", "change": "changed"}]
        assert "hunter" not in service.printed()
        assert "sharing limits in valkey://(hidden)@127.0.0.1" in service.printed()


def test_a_lone_replica_that_was_paused_leads_again(store: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        (replica,) = _replicas(stack, tmp_path, store, 1)
        replica.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # longer than the lead lasts
        replica.process.send_signal(signal.SIGCONT)
        _comes_true(lambda: httpx2.get(replica.url + STATUS).json()["shared_store"]["leader_changes"] == 1)
        asyncio.run(_one_call(replica.url))


def test_without_the_store_the_service_does_not_start(tmp_path: Path) -> None:
    ended = run_to_end(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_STORE_URL="valkey://:pw@127.0.0.1:1")
    assert ended.returncode == 2
    assert "TIDEGATE_STORE_URL: got 'valkey://(hidden)@127.0.0.1:1'" in ended.stderr
    assert "cannot be reached" in ended.stderr


def test_a_degraded_start_serves_a_share_and_joins_the_store_later(tmp_path: Path) -> None:
    store = Server(tmp_path / "store")
    variables = {
        "TIDEGATE_STORE_URL": URL.format(port=store.port),
        "TIDEGATE_STORE_START": "degraded",
        "TIDEGATE_STORE_REPLICAS": "3",
        "TIDEGATE_POOL_REQUESTS_PER_MINUTE": "60",
    }
    with running(tmp_path, "serve", "--upstream", "simulator", **variables) as service, ExitStack() as stack:
        ready = httpx2.get(f"{service.url}/readyz")
        assert ready.status_code == 200
        assert "degraded" in ready.json()["warnings"][0]
        assert "starting without the shared store" in service.printed()
        assert "\ntidegate_degraded 1.0" in httpx2.get(f"{service.url}/metrics").text
        asyncio.run(_one_call(service.url))
        assert _effective(service) == pytest.approx(60 / 3, rel=0.01)
        stack.callback(store.close)
        store.start()
        _comes_true(lambda: "warnings" not in httpx2.get(f"{service.url}/readyz").json())
        _comes_true(lambda: "is back" in service.printed())
        asyncio.run(_one_call(service.url))
        _comes_true(lambda: _effective(service) == 60)


def test_without_a_shared_store_no_series_of_it_is_exported(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--upstream", "simulator") as service:
        exported = httpx2.get(f"{service.url}/metrics").text
    names = "leader|leader_changes|replicas|store_up|store_latency|log_lag|snapshot_age|degraded"
    assert not re.search(rf"^tidegate_({names})(_total|_seconds\w*)?[ {{]", exported, re.MULTILINE)
    assert "tidegate_build_info" in exported


async def _one_call(url: str) -> None:
    clients = Clients(url, callers=1, streams=0)
    async with calling(clients):
        await asyncio.sleep(0.1)
    assert clients.waits


def _effective(service: ServiceProcess) -> float | None:
    pools = httpx2.get(service.url + STATUS, timeout=20).json()["pools"]
    if "sonnet-5-5" not in pools:
        return None
    found: float | None = pools["sonnet-5-5"]["dimensions"]["requests"]["effective_per_minute"]
    return found


def _replicas(
    stack: ExitStack, directory: Path, store: Server, count: int, *options: str, **variables: str
) -> list[ServiceProcess]:
    """Processes with a simulator each, which nobody limits."""
    started = []
    for number in range(count):
        place = directory / f"replica{number}"
        place.mkdir(parents=True)
        url = URL.format(port=store.port)
        serve = running(place, "serve", "--upstream", "simulator", *options, TIDEGATE_STORE_URL=url, **variables)
        started.append(stack.enter_context(serve))
    return started


def _post(url: str, body: object) -> dict[str, list[object]]:
    answer = httpx2.post(url, json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    found: dict[str, list[object]] = answer.json()
    return found


def _configured(replica: ServiceProcess, pool: str) -> float | None:
    pools = httpx2.get(replica.url + STATUS, timeout=20).json()["pools"]
    found: float | None = pools[pool]["dimensions"]["requests"]["configured_per_minute"] if pool in pools else None
    return found


def _is_configured(replica: ServiceProcess, pool: str, per_minute: float) -> bool:
    return _configured(replica, pool) == per_minute


def _in_flight(replica: ServiceProcess) -> int:
    pools = httpx2.get(replica.url + STATUS, timeout=20).json()["pools"]
    return int(pools["sonnet-5-5"]["in_flight"]) if "sonnet-5-5" in pools else 0


def _comes_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
