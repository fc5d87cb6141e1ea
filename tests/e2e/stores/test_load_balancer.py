"""Replicas behind the load balancer of `deploy/`, restarted one after the other: no call fails."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from restarts.haproxy import CONFIGURATION, program
from restarts.load import Load
from restarts.replicas import restart_replicas

pytestmark = pytest.mark.stores


def test_rolling_restarts_of_two_replicas_lose_nothing(tmp_path: Path) -> None:
    load = Load(streams=10, stream_seconds=4, calls_per_second=8, retries=0, seconds_per_token=0.1)
    outcome = asyncio.run(restart_replicas(tmp_path, load, restarts=2, between_seconds=1))
    assert outcome.is_proof, str(outcome)
    assert all(outcome.open_calls), "the restarts met no call"


def test_the_configuration_is_valid() -> None:
    command = [program(), "-c", "-f", str(CONFIGURATION)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
