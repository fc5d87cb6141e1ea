"""A recording of replicas on a real Valkey, and its replay."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from chaos.servers import server
from support.service_process import environment, run_to_end, running
from tidegate.identity.identify import key_hash
from tidegate.stores.recording.recording_file import RecordingReader

PROMPT = "a prompt that nobody else may read"
KEY = "sk-key-that-nobody-may-read"
SESSION = "session-that-nobody-may-read"

pytestmark = pytest.mark.stores


async def call_all(urls: list[str], count: int) -> list[float]:
    """The waits of calls, half of them at each replica, by their response headers."""
    body = {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}

    async def call(session: aiohttp.ClientSession, number: int) -> float:
        headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "x-tidegate-session": SESSION}
        async with session.post(f"{urls[number % 2]}/v1/messages", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return float(answer.headers["x-tidegate-queue-ms"]) / 1_000

    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(call(session, number) for number in range(count))))


def test_a_recording_has_the_waits_of_the_calls_and_can_be_replayed_under_other_limits(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    with server(tmp_path / "store") as store, ExitStack() as stack:
        variables = {
            "TIDEGATE_STORE_URL": f"valkey://127.0.0.1:{store.port}",
            "TIDEGATE_POOL_REQUESTS_PER_MINUTE": "300",
            "TIDEGATE_POOL_BURST_SECONDS": "1",
        }
        urls = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            replica = running(tmp_path / name, "serve", "--upstream", "simulator", **variables)
            urls.append(stack.enter_context(replica).url)
        recorder = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "record", str(file)], env=environment(**variables), cwd=tmp_path
        )
        stack.callback(recorder.kill)
        deadline = time.monotonic() + 30
        while not file.exists() or file.stat().st_size < 100:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        waits = asyncio.run(call_all(urls, 30))
        time.sleep(1)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(20) == 0
    with file.open("rb") as opened:
        content = b"".join(map(msgspec.msgpack.encode, RecordingReader(opened)))
    assert b"sonnet-5-5" in content
    assert not [secret for secret in (PROMPT, KEY, SESSION, key_hash(KEY)[:12]) if secret.encode() in content]
    same = replayed(tmp_path, file)
    assert same["notes"] == []
    pool = same["pools"]["sonnet-5-5"]
    assert pool["original"] == pool["replay"]
    assert (pool["original"]["calls"], pool["original"]["admitted"]) == (30, 30)
    assert pool["original"]["wait_seconds"]["p50"] == pytest.approx(sorted(waits)[14], abs=0.5)
    (caller,) = same["callers"]
    assert re.fullmatch("key-[0-9a-f]{12}", caller)
    slower = replayed(tmp_path, file, "--set", "pool_requests_per_minute=150")["pools"]["sonnet-5-5"]["replay"]
    quicker = replayed(tmp_path, file, "--set", "pool_requests_per_minute=600")["pools"]["sonnet-5-5"]["replay"]
    assert quicker["wait_seconds"]["p50"] < 0.7 * pool["original"]["wait_seconds"]["p50"]
    assert slower["waiting"] > 0 or slower["wait_seconds"]["p50"] > 1.4 * pool["original"]["wait_seconds"]["p50"]


def replayed(directory: Path, file: Path, *options: str) -> Any:
    ended = run_to_end(directory, "replay", str(file), "--json", *options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
