"""A budget that replicas share through Valkey and PostgreSQL holds under a flood, also if the leader is killed."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from chaos.servers import Server
from support import otlp
from support.budget_load import LIMIT_USD, BudgetLoad, budget_file, spent_usd, tracing
from support.postgresql_server import postgresql_server
from support.service_process import ServiceProcess, running

pytestmark = pytest.mark.stores
FAST = ("--requests-per-minute=60000", "--input-tokens-per-minute=500000000", "--output-tokens-per-minute=50000000")
LATE_SECONDS = 1.0
"""How late the leader may learn that a call of another replica has ended."""


def leads(replica: ServiceProcess) -> bool:
    status = httpx2.get(f"{replica.url}/api/system/rate-limiting/status", timeout=20).json()
    return bool(status["shared_store"]["is_leader"])


@pytest.mark.parametrize("kills_leader", [False, True])
def test_three_replicas_overshoot_by_no_more_than_one_would(
    store: Server, tmp_path: Path, *, kills_leader: bool
) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(postgresql_server()).new_database().replace("+psycopg", "")
        collector = stack.enter_context(otlp.receiving("http/protobuf"))
        (tmp_path / "simulator").mkdir()
        delays = ("--first-token-seconds=0.01", "--per-token-seconds=0.00005")
        simulator = stack.enter_context(running(tmp_path / "simulator", "simulator", *FAST, *delays))
        replicas = []
        for number in range(3):
            place = tmp_path / f"replica{number}"
            place.mkdir()
            (place / "tidegate.toml").write_text(budget_file())
            serve = running(
                place,
                "serve",
                ANTHROPIC_API_KEY="any",
                TIDEGATE_UPSTREAM_URL=simulator.url,
                TIDEGATE_STORE_URL=f"valkey://127.0.0.1:{store.port}",
                TIDEGATE_DATABASE_URL=database,
                **tracing(collector),
            )
            replicas.append(stack.enter_context(serve))
        alive, killed = list(replicas), list[float]()

        def kill(done: int) -> None:
            if kills_leader and done == 60 and not killed:
                killed.append(time.time())
                (leader,) = [replica for replica in replicas if leads(replica)]
                alive.remove(leader)
                leader.process.kill()

        load = BudgetLoad(lambda number: alive[number % len(alive)].url, kill)
        load.run()
        load.learn(collector, max(killed, default=0.0))
        assert 429 in load.statuses()
        spent = spent_usd(simulator)
        mispriced = sum(load.mispriced_usd(at, LATE_SECONDS) for at in (load.last_admitted(), *killed))
        assert 0.7 * LIMIT_USD < spent <= LIMIT_USD + mispriced, (spent, mispriced)
        assert load.statuses() <= {0, 200, 429, 503}  # 503: no leader for long, on a busy machine
        for replica in alive:
            answer = load.make_one(replica.url)
            assert answer.status_code == 429, answer.text
            assert answer.headers["x-tidegate-cause"] == "budget"
