"""Keys of the ledger on a running service: made, rotated and revoked from the command line, without a restart."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from operator import eq
from pathlib import Path
from threading import Event

import httpx2
import pytest

from support.service_process import run_to_end, running

pytestmark = pytest.mark.ledger
BODY = {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
CLIENTS = 3
PROMISED_SECONDS = 1.0
BUSY_SECONDS = 3.0
"""How much later than promised a busy machine may be."""


def test_keys_are_rotated_under_load_without_a_refusal_and_end_within_a_second(tmp_path: Path) -> None:
    state_dir = str(tmp_path / "state")

    def keys(*arguments: str) -> str:
        """Run `tidegate keys`; returns the key that it printed, or nothing."""
        done = run_to_end(tmp_path, "keys", *arguments, TIDEGATE_STATE_DIR=state_dir)
        assert done.returncode == 0, done.stderr
        return "".join(re.findall(r"^key +(\S+)$", done.stdout, re.MULTILINE))

    with running(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_STATE_DIR=state_dir) as service:

        def ask(key: str | None) -> int:
            headers = {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}
            return httpx2.post(f"{service.url}/v1/messages", json=BODY, headers=headers, timeout=30).status_code

        def becomes(status: int, key: str | None) -> None:
            deadline = time.monotonic() + PROMISED_SECONDS + BUSY_SECONDS
            while (found := ask(key)) != status:
                assert time.monotonic() < deadline, found
                time.sleep(0.02)

        assert ask(None) == 200  # nobody has a key yet
        in_use = [keys("create", "web", "--team", "shop")]
        becomes(401, None)
        becomes(200, in_use[0])

        listed = run_to_end(tmp_path, "keys", "list", TIDEGATE_STATE_DIR=state_dir)
        (old_id,) = re.findall(r"^(key_\w+) ", listed.stdout, re.MULTILINE)

        stop = Event()
        calls_ended = [0] * CLIENTS

        def load(client: int) -> Counter[int]:
            statuses: Counter[int] = Counter()
            while not stop.wait(0.02):
                statuses[ask(in_use[0])] += 1
                calls_ended[client] += 1
            return statuses

        def calls_in_progress_end() -> None:
            before = list(calls_ended)
            while any(map(eq, calls_ended, before)):
                time.sleep(0.02)

        with ThreadPoolExecutor(CLIENTS) as at_once:
            loads = [at_once.submit(load, client) for client in range(CLIENTS)]
            try:
                old = in_use[0]
                new = keys("rotate", "web", "--grace", "1h")
                becomes(200, new)
                in_use[0] = new
                calls_in_progress_end()
                keys("revoke", old_id)
                becomes(401, old)
            finally:
                stop.set()
            statuses = sum((each.result() for each in loads), Counter[int]())
        assert set(statuses) == {200}, statuses

        usage = httpx2.get(f"{service.url}/api/system/usage", params={"by": "team"}, headers={"x-api-key": new})
        assert [group["team"] for group in usage.json()["groups"]] == ["shop"]
        keys("revoke", "web")
        becomes(401, new)
        becomes(401, None)
