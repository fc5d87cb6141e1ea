"""A budget of a running service holds under a flood of calls, and over a kill."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from support import otlp
from support.budget_load import LIMIT_USD, BudgetLoad, budget_file, spent_usd, tracing
from support.service_process import ServiceProcess, running

pytestmark = pytest.mark.ledger
FAST = ("--requests-per-minute=60000", "--input-tokens-per-minute=500000000", "--output-tokens-per-minute=50000000")


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[ServiceProcess]:
    place = tmp_path / "simulator"
    place.mkdir()
    with running(place, "simulator", *FAST, "--first-token-seconds=0.01", "--per-token-seconds=0.00005") as simulator:
        yield simulator


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "service"
    place.mkdir()
    (place / "tidegate.toml").write_text(budget_file())
    return place


@pytest.fixture
def collector() -> Iterator[otlp.Received]:
    with otlp.receiving("http/protobuf") as collector:
        yield collector


@pytest.fixture
def variables(simulator: ServiceProcess, collector: otlp.Received) -> dict[str, str]:
    service = {"ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": simulator.url, "TIDEGATE_STATE_DIR": "state"}
    return {**service, **tracing(collector)}


def left(service: ServiceProcess) -> dict[str, float]:
    (found,) = httpx2.get(f"{service.url}/api/system/budgets").json()["budgets"]
    assert isinstance(found, dict)
    return found


def test_two_hundred_calls_overshoot_by_no_more_than_those_in_flight_were_mispriced(
    simulator: ServiceProcess, place: Path, variables: dict[str, str], collector: otlp.Received
) -> None:
    with running(place, "serve", **variables) as service:
        load = BudgetLoad(lambda _number: service.url)
        load.run()
        load.learn(collector)
        assert load.statuses() == {200, 429}
        spent = spent_usd(simulator)
        assert spent == pytest.approx(left(service)["spent"], abs=1e-6)
        assert left(service)["reserved"] == 0
        mispriced = load.mispriced_usd(load.last_admitted())
        assert 0.9 * LIMIT_USD < spent <= LIMIT_USD + mispriced, (spent, mispriced)
        refused = httpx2.get(f"{service.url}/metrics").text
        assert 'tidegate_budget_thresholds_total{budget="all",percent="100"} 1.0' in refused


def test_a_kill_forgets_at_most_a_second_of_what_was_spent(
    simulator: ServiceProcess, place: Path, variables: dict[str, str], collector: otlp.Received
) -> None:
    with ExitStack() as stack:
        services = [stack.enter_context(running(place, "serve", **variables))]
        killed: list[float] = []
        lock, is_back = threading.Lock(), threading.Event()
        is_back.set()

        def kill(done: int) -> None:
            with lock:
                if killed or done < 60:
                    return
                is_back.clear()
                killed.append(time.time())
            services[0].process.kill()
            services[0].process.wait()
            written.append((place / "state/ledger.sqlite-wal").stat().st_mtime)
            services.append(stack.enter_context(running(place, "serve", **variables)))
            is_back.set()

        def url(_number: int) -> str:
            is_back.wait(30)
            return services[-1].url

        written: list[float] = []
        load = BudgetLoad(url, kill)
        load.run()
        (at,), (last,) = killed, written
        load.learn(collector, at)
        assert load.statuses() == {0, 200, 429}
        spent = spent_usd(simulator)
        # A busy machine may have written nothing for longer.
        forgotten = load.forgotten_usd(min(at, last) - 1, at)
        most = LIMIT_USD + load.mispriced_usd(load.last_admitted()) + load.mispriced_usd(at) + forgotten
        assert spent <= most, (spent, most)
        assert left(services[-1])["remaining"] <= 0.5
        assert spent > 0.7 * LIMIT_USD, spent
