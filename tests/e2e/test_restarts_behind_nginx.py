"""The real service restarts behind a real nginx, and no client loses anything. `make prove-restarts` takes longer."""

import asyncio
from pathlib import Path

import pytest

from restarts.behind_nginx import restart_behind_nginx
from restarts.load import Load

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_clients_notice_nothing_of_restarts_behind_a_load_balancer(tmp_path: Path) -> None:
    load = Load(streams=20, stream_seconds=6, calls_per_second=20, retries=0)
    restarts = restart_behind_nginx(tmp_path, load, restarts=3, between_seconds=3)
    outcome = asyncio.run(asyncio.wait_for(restarts, 280))
    counts = outcome.counts
    assert (counts.lost, outcome.rate_limited, outcome.exit_codes) == (0, 0, [0, 0, 0]), counts
    assert min(outcome.open_calls) >= 3, "streams were open at each restart"
    assert counts.calls > 200
    assert counts.streams >= 40
