"""The real service reloads its configuration, by signal, by HTTP and by the command, while calls are under way."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx2

from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from support.service_process import ServiceProcess, run_to_end, running
from tidegate.identity.identify import key_hash

RELOAD = "/api/system/reload"
CALL = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
ADMIN = {"x-api-key": "the-admin"}


def config(*callers: str, **values: Any) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    for caller in callers:
        name, _, rest = caller.partition(" ")
        lines += ["[[callers]]", f'name = "{name}"', f'key_sha256 = "{key_hash(name)}"', *rest.split(", ")]
    return "\n".join(lines)


def log_lines(service: ServiceProcess, logger: str = "tidegate.reload") -> list[str]:
    lines = [json.loads(line) for line in service.printed().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line.get("logger") == logger]


def comes(service: ServiceProcess, count: int) -> list[str]:
    """Waits for that many lines about reloads."""
    deadline = time.monotonic() + 20
    while len(lines := log_lines(service)) < count:
        assert time.monotonic() < deadline, service.printed()
        assert service.process.poll() is None
        time.sleep(0.02)
    return lines


def test_values_change_by_http_by_signal_and_by_the_command(tmp_path: Path) -> None:
    place = tmp_path / "service"
    place.mkdir()
    file, secret = place / "tidegate.toml", place / "key"
    secret.write_text("sk-first\n", encoding="utf-8")
    file.write_text(config("ann", "ben", log_format="json"), encoding="utf-8")
    variables = {"TIDEGATE_ADMIN_KEY": "the-admin", "ANTHROPIC_API_KEY_FILE": str(secret)}
    with (
        running(tmp_path, "simulator") as simulator,
        running(place, "serve", TIDEGATE_UPSTREAM_URL=simulator.url, **variables) as service,
        httpx2.Client(base_url=service.url) as http,
    ):
        headers = {"anthropic-version": "2023-06-01"}

        def status(key: str) -> int:
            return http.post("/v1/messages", json=CALL, headers={**headers, "x-api-key": key}).status_code

        assert [status(key) for key in ("ann", "ben", "eve")] == [200, 200, 401]
        assert http.post(RELOAD, headers=ADMIN).json() == {"changes": [], "needs_restart": []}
        assert http.post(RELOAD, headers={"x-api-key": "ann"}).status_code == 403

        file.write_text(config("eve", "ann weight = 3.0", log_format="json", port=1, max_calls=77), encoding="utf-8")
        secret.write_text("sk-second", encoding="utf-8")
        answer = http.post(RELOAD, headers=ADMIN).json()
        changed = {each.pop("setting"): each for each in answer["changes"]}
        assert changed == {
            "anthropic_api_key": {"change": "changed"},
            "max_calls": {"change": "changed", "before": 10_000, "after": 77},
            "callers.ann.weight": {"change": "changed", "before": 1.0, "after": 3.0},
            "callers.ben": {"change": "removed"},
            "callers.eve": {"change": "added"},
        }
        assert [status(key) for key in ("ann", "ben", "eve")] == [200, 401, 200]
        assert 'caller="eve"' in httpx2.get(f"{service.url}/metrics").text

        file.write_text(config("ann", "eve", log_format="console", log_level="debug"), encoding="utf-8")
        before = len(log_lines(service))
        os.kill(service.process.pid, signal.SIGHUP)
        lines = comes(service, before + 2)[before:]
        assert "max_calls 77 → 10000" in lines[0]
        assert "callers.ann.weight 3.0 → 1.0" in lines[0]
        assert "log_level 'info' → 'debug'" in lines[0]
        assert lines[1] == "needs a restart: log_format 'json' → 'console'"

        file.write_text(config("ann", "eve", read_on_calls=5), encoding="utf-8")
        ended = run_to_end(place, "reload", "--url", service.url, **variables)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "changed: read_on_calls 100 → 5" in ended.stdout.splitlines()
        assert 'needs a restart: log_format "json" → "auto"' in ended.stdout.splitlines()
        as_json = run_to_end(place, "reload", "--json", "--url", service.url, **variables)
        assert json.loads(as_json.stdout)["changes"] == []
        ended = run_to_end(place, "reload", "--url", service.url, **{**variables, "TIDEGATE_ADMIN_KEY": "wrong"})
        assert ended.returncode == 1
        assert "not an admin key" in ended.stderr
        assert "sk-second" not in service.printed() + json.dumps(answer)
    gone = run_to_end(place, "reload", "--url", service.url, **variables)
    assert gone.returncode == 1
    assert "Connection refused" in gone.stderr


def test_a_broken_file_changes_nothing_and_one_line_says_so(tmp_path: Path) -> None:
    file = tmp_path / "tidegate.toml"
    file.write_text(config("ann", log_format="json"), encoding="utf-8")
    with running(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_ADMIN_KEY="the-admin") as service:
        file.write_text(config("eve", max_calls=0, header_seconds=-1), encoding="utf-8")
        answer = httpx2.post(f"{service.url}{RELOAD}", headers=ADMIN)
        assert answer.status_code == 422
        assert {each["field"] for each in answer.json()["errors"]} == {
            "tidegate.toml: max_calls",
            "tidegate.toml: header_seconds",
        }
        os.kill(service.process.pid, signal.SIGHUP)
        lines = comes(service, 2)
        assert lines[0] == lines[1]
        assert lines[0].startswith("reload failed, the old configuration stays: tidegate.toml: ")
        assert "max_calls: got 0" in lines[0]
        assert "header_seconds: got -1" in lines[0]
        file.write_text("callers = [", encoding="utf-8")
        assert httpx2.post(f"{service.url}{RELOAD}", headers=ADMIN).status_code == 422
        for key, status in (("ann", 200), ("eve", 401)):
            headers = {"anthropic-version": "2023-06-01", "x-api-key": key}
            assert httpx2.post(f"{service.url}/v1/messages", json=CALL, headers=headers).status_code == status
        assert "Traceback" not in service.printed()
        ended = run_to_end(tmp_path, "reload", "--url", service.url)
        assert ended.returncode == 2
        assert ended.stderr.startswith("tidegate: tidegate.toml: got 'invalid TOML'")


class GrowingLog:
    """Counts the reloads in a log that grows."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._reloads = 0

    async def has_reloads(self, count: int) -> None:
        """Waits for that many reloads."""
        while self._reloads < count:
            await asyncio.sleep(0.02)
            with self._file.open("rb") as log:
                log.seek(self._read)
                lines, _, _ = log.read().rpartition(b"\n")
            self._read += len(lines) + bool(lines)
            self._reloads += lines.count(b'"reloaded: ')


async def calls_while_it_reloads(on: ServiceAndSimulator, file: Path, reloads: int) -> dict[str, int]:
    """Ends of calls, streams and plain ones, meanwhile; callers and limits change with each reload.

    Each signal waits for the reload before: two that are pending at once would be one.
    """
    log = GrowingLog(on.service.output)
    ends: dict[str, int] = {}
    done = asyncio.Event()

    async def client(http: aiohttp.ClientSession, number: int) -> None:
        headers = {"x-api-key": f"c{number % 3}", "anthropic-version": "2023-06-01"}
        while not done.is_set():
            body = {**CALL, "stream": number % 2 == 0}
            try:
                async with http.post(f"{on.service.url}/v1/messages", json=body, headers=headers) as answer:
                    text = await answer.read()
                    is_whole = answer.status == 200 and (b"message_stop" in text or not body["stream"])
                    end = "whole" if is_whole else f"{answer.status}: {text[:200]!r}"
            except aiohttp.ClientError as error:
                end = repr(error)
            ends[end] = ends.get(end, 0) + 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        clients = [asyncio.create_task(client(http, number)) for number in range(30)]
        for number in range(reloads):
            weight = f"weight = {1.0 + number % 4}"
            callers = ("c0", f"c1 {weight}", f"c2 {weight}, max_concurrent = {5 + number % 5}", f"extra{number % 7}")
            values = {"pool_requests_per_minute": 6_000 + 1_000 * (number % 3), "max_calls": 100 + number}
            new = file.with_suffix(".new")
            new.write_text(config(*callers, log_format="json", **values), encoding="utf-8")
            new.replace(file)
            os.kill(on.service.process.pid, signal.SIGHUP)
            async with asyncio.timeout(20):
                await log.has_reloads(number + 1)
        done.set()
        await asyncio.gather(*clients)
    return ends


def test_a_hundred_reloads_under_load_lose_no_call(tmp_path: Path) -> None:
    file = tmp_path / "tidegate.toml"
    file.write_text(config("c0", "c1", "c2", log_format="json"), encoding="utf-8")
    with service_and_simulator(tmp_path, per_token_seconds=0.001, variables={"TIDEGATE_CONFIG": str(file)}) as on:
        ends = asyncio.run(calls_while_it_reloads(on, file, 100))
        assert set(ends) == {"whole"}, ends
        assert ends["whole"] > 200
        lines = [line for line in comes(on.service, 100) if line.startswith("reloaded: ")]
        assert len(lines) == 100
        on.comes_to_rest()
        assert "Traceback" not in on.service.printed()
