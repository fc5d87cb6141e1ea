"""Pauses on a running service: calls that wait for quota are refused within a second, until they are resumed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from support.postgresql_server import postgresql_server
from support.service_and_simulator import service_and_simulator
from support.service_process import run_to_end, running

pytestmark = pytest.mark.ledger
BODY = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
CALLS = 30
WAITING = 5
PROMISED_SECONDS = 1.0
BUSY_SECONDS = 3.0
"""How much later than promised a busy machine may be."""


def test_a_paused_session_stops_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    state_dir = str(tmp_path / "state")
    variables = {"TIDEGATE_STATE_DIR": state_dir, "TIDEGATE_POOL_REQUESTS_PER_MINUTE": "30"}

    def command(*arguments: str) -> float:
        """Run a command; returns when it had ended."""
        done = run_to_end(tmp_path, *arguments, TIDEGATE_STATE_DIR=state_dir)
        assert done.returncode == 0, done.stderr
        return time.monotonic()

    with service_and_simulator(tmp_path, variables=variables) as on, ThreadPoolExecutor(CALLS) as at_once:

        def ask() -> tuple[httpx2.Response, float]:
            headers = {"anthropic-version": "2023-06-01", "x-tidegate-session": "runaway"}
            answer = httpx2.post(f"{on.service.url}/v1/messages", json=BODY, headers=headers, timeout=100)
            return answer, time.monotonic()

        calls = [at_once.submit(ask) for _ in range(CALLS)]
        deadline = time.monotonic() + 20
        while sum(on.metrics("tidegate_queue_depth").values()) < WAITING:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        paused = command("pause", "session", "runaway", "--reason", "costs too much")
        answers = [each.result() for each in calls]
        refused = [answer for answer, _ in answers if answer.status_code == 403]
        assert {answer.status_code for answer, _ in answers} <= {200, 403}
        assert refused
        assert all("costs too much" in answer.json()["error"]["message"] for answer in refused)
        assert {answer.headers["x-tidegate-cause"] for answer in refused} == {"paused"}
        assert max(at for _, at in answers) - paused < PROMISED_SECONDS + BUSY_SECONDS
        assert on.metrics("tidegate_paused")['{kind="session"}'] == 1
        assert ask()[0].status_code == 403
        command("resume", "session", "runaway")
        deadline = time.monotonic() + PROMISED_SECONDS + BUSY_SECONDS
        while ask()[0].status_code == 403:
            assert time.monotonic() < deadline
        changes = httpx2.get(f"{on.service.url}/api/system/audit").json()["changes"]
        assert [each["action"] for each in changes] == ["resume", "pause"]


def test_a_pause_in_one_replica_is_in_effect_in_the_other_within_a_second(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with postgresql_server() as database:
        variables = {"TIDEGATE_DATABASE_URL": database.new_database().replace("+psycopg", "")}
        with (
            running(tmp_path / "a", "serve", "--upstream", "simulator", **variables) as one,
            running(tmp_path / "b", "serve", "--upstream", "simulator", **variables) as other,
        ):

            def becomes(status: int) -> None:
                """Wait until the other replica answers so."""
                deadline = time.monotonic() + PROMISED_SECONDS + BUSY_SECONDS
                while True:
                    answer = httpx2.post(
                        f"{other.url}/v1/messages", json=BODY, headers={"anthropic-version": "2023-06-01"}, timeout=30
                    )
                    if answer.status_code == status:
                        return
                    assert time.monotonic() < deadline, answer.text

            becomes(200)
            pauses = f"{one.url}/api/system/pauses"
            made = httpx2.post(pauses, json={"kind": "pool", "name": "haiku-5-5"})
            assert made.status_code == 201, made.text
            becomes(403)
            assert httpx2.delete(f"{pauses}/pool/haiku-5-5").status_code == 200
            becomes(200)
