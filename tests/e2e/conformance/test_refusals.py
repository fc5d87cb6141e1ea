"""SDKs handle Tidegate's refusals with their own retries: the error, the number of attempts, and the waits.

By default each SDK retries twice. It must obey `retry-after` and `x-should-retry`, and its final error must explain
what happened.
"""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from support.conformance import CALLER_KEY
from support.faulty_upstream import QUICK, closed_port
from support.sdks import do_steps, newest_python, older_python, typescript
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from support.service_process import ServiceProcess, running

from .calls import HELLO, SONNET
from .sdk_calls import step

pytestmark = pytest.mark.clients

ASK = {"model": SONNET, "max_tokens": 50, "messages": HELLO}
KEYS = {"x-api-key": CALLER_KEY, "anthropic-version": "2023-06-01"}
SDKS: dict[str, Callable[[], list[str]]] = {
    "python-2": newest_python,
    "python-0.121": older_python,
    "typescript-1": typescript,
}
RETRIES = 2


class Seen(NamedTuple):
    """One call of one SDK: the responses, the error, and the total time."""

    statuses: list[int]
    causes: list[str | None]
    waits: list[str | None]
    raised: list[str]
    message: str
    seconds: float


def seen_by_all(url: str, *, max_retries: int = RETRIES, seconds: float | None = None) -> dict[str, Seen]:
    """Make the same call with all SDKs concurrently; `seconds` is the timeout."""
    headers = {} if seconds is None else {"x-tidegate-timeout-seconds": str(seconds)}

    def ask(command: Callable[[], list[str]]) -> Seen:
        started = time.monotonic()
        (seen,) = do_steps(command(), url, [step("messages.create", ASK, headers=headers)], max_retries=max_retries)[
            "seen"
        ]
        exchanges = [(exchange["status"], dict(exchange["fields"])) for exchange in seen["exchanges"]]
        outcome = seen["outcome"]
        body = outcome.get("body")
        return Seen(
            [status for status, _ in exchanges],
            [fields.get("x-tidegate-cause") for _, fields in exchanges],
            [fields.get("retry-after") for _, fields in exchanges],
            outcome.get("raised", []),
            body["error"]["message"] if body else "",
            time.monotonic() - started,
        )

    with ThreadPoolExecutor() as at_once:
        return dict(zip(SDKS, at_once.map(ask, SDKS.values()), strict=True))


def post(url: str, *, seconds: float = 60, **headers: str) -> Any:
    fields = {**KEYS, "x-tidegate-timeout-seconds": str(seconds), **headers}
    return httpx2.post(f"{url}/v1/messages", json=ASK, headers=fields, timeout=60)


def befalls(on: ServiceAndSimulator, kind: str, **fields: float) -> None:
    httpx2.post(f"{on.simulator.url}/simulator/faults", json={"kind": kind, **fields}).raise_for_status()


@contextlib.contextmanager
def under_way(on: ServiceAndSimulator, kind: str, **fields: float) -> Iterator[None]:
    """Keep a call with a fault in progress; its client disconnects at the end."""
    befalls(on, kind, count=1, **fields)
    address, body = urlsplit(on.service.url), json.dumps(ASK).encode()
    lines = ["POST /v1/messages HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in KEYS.items())]
    head = "\r\n".join([*lines, "content-type: application/json", f"content-length: {len(body)}", "", ""])
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(head.encode() + body)
        deadline = time.monotonic() + 20
        while not on.state()["in_flight"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield


def test_too_many_calls(tmp_path: Path) -> None:
    variables = {**QUICK, "TIDEGATE_MAX_CALLS": "1"}
    with service_and_simulator(tmp_path, variables=variables) as on, under_way(on, "slow_start", delay_seconds=300):
        for sdk, seen in seen_by_all(on.service.url).items():
            assert (sdk, seen.statuses) == (sdk, [429] * (1 + RETRIES))
            assert seen.causes == ["queue_full"] * (1 + RETRIES)
            assert seen.waits == ["1"] * (1 + RETRIES)
            assert seen.seconds >= RETRIES * 1, "retry-after is obeyed"
            assert seen.raised[0] == "RateLimitError"
            assert "calls are already under way" in seen.message


def test_an_sdk_retries_after_a_wait_that_was_too_long(tmp_path: Path) -> None:
    """A call that is refused in the first second of a freeze is retried after `retry-after`, and answered."""
    with service_and_simulator(tmp_path, variables=QUICK) as on:
        assert post(on.service.url).status_code == 200
        befalls(on, "rate_limited", count=1, retry_after_seconds=12)
        assert post(on.service.url, seconds=1).status_code == 429
        for sdk, seen in seen_by_all(on.service.url, seconds=1).items():
            assert (sdk, seen.statuses, seen.causes[0]) == (sdk, [429, 200], "deadline")
            assert seen.seconds >= int(seen.waits[0] or 0)
            assert not seen.raised


def test_a_spend_cap(tmp_path: Path) -> None:
    with service_and_simulator(tmp_path, variables=QUICK) as on:
        befalls(on, "spend_limit", count=1)
        assert post(on.service.url).status_code == 400
        for sdk, seen in seen_by_all(on.service.url).items():
            assert (sdk, seen.statuses, seen.causes) == (sdk, [403], ["spend_cap"])
            assert seen.raised[0] == "PermissionDeniedError"
            assert "a spend cap is reached; try again at 20" in seen.message


def test_a_service_with_itself_as_upstream(tmp_path: Path) -> None:
    port = str(closed_port())
    variables = {**QUICK, "ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": f"http://127.0.0.1:{port}"}
    with running(tmp_path, "serve", "--port", port, **variables) as service:
        for sdk, seen in seen_by_all(service.url).items():
            assert (sdk, seen.statuses, seen.causes) == (sdk, [508], ["loop"])
            assert "InternalServerError" in seen.raised
            assert "the call came back: the upstream URL leads to this service itself" in seen.message


def test_an_upstream_that_cannot_be_reached(tmp_path: Path) -> None:
    """Calls get an error with the cause and `retry-after`."""
    upstream = f"http://127.0.0.1:{closed_port()}"
    with running(tmp_path, "serve", **{**QUICK, "ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": upstream}) as on:
        for _ in range(2):
            post(on.url, seconds=1)
        with ThreadPoolExecutor() as others:
            waiting = [others.submit(post, on.url, seconds=25) for _ in range(4)]
            wait_until_queued(on, 3)
            for sdk, seen in seen_by_all(on.url, seconds=0.1).items():
                assert (sdk, seen.statuses) == (sdk, [529] * (1 + RETRIES))
                assert seen.causes == ["upstream_outage"] * (1 + RETRIES)
                waits = [int(wait or 0) for wait in seen.waits]
                assert min(waits) >= 1
                assert seen.seconds >= sum(waits[:RETRIES])
                assert {"InternalServerError", "OverloadedError"} & set(seen.raised)
                assert "the upstream cannot be reached: Connection refused" in seen.message
            assert {call.result().status_code for call in waiting} <= {502, 504, 529}


def wait_until_queued(service: ServiceProcess, calls: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        text = httpx2.get(f"{service.url}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("tidegate_queue_depth{")]
        if sum(float(line.split()[-1]) for line in lines) >= calls:
            return
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


@pytest.mark.parametrize("max_retries", [0, RETRIES])
def test_a_service_that_stops(tmp_path: Path, max_retries: int) -> None:
    """Waiting calls are told to retry when the drain time is over; here, no other replica is there."""
    variables = {**QUICK, "TIDEGATE_DRAIN_NOTICE_SECONDS": "0", "TIDEGATE_DRAIN_SECONDS": "5"}
    with service_and_simulator(tmp_path, variables=variables) as on, ThreadPoolExecutor(1) as beside:
        befalls(on, "slow_start", delay_seconds=100)
        asked = beside.submit(seen_by_all, on.service.url, max_retries=max_retries)
        deadline = time.monotonic() + 30
        while on.state()["in_flight"] < len(SDKS):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(on.service.process.pid, signal.SIGTERM)
        for sdk, seen in asked.result().items():
            assert (sdk, seen.statuses, seen.causes) == (sdk, [503], ["draining"])
            raised = "InternalServerError" if max_retries == 0 else "APIConnectionError"
            assert raised in seen.raised
            assert "shutting down" in seen.message or max_retries
        assert on.service.process.wait(timeout=20) == 0
