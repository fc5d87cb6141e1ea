"""A healthy load: several callers with streams, plain calls, counts and batches, one of them near its own limit."""

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from support.alerting.client import Client

__all__ = ["BURST", "PROGRAMS", "BalancedClient", "Load", "Program"]

_MOST_AT_ONCE: Final = 40
_BATCH_SECONDS: Final = 60
_BURST_SECONDS: Final = 180
_FAULT_SECONDS: Final = 120
"""One attempt meets a 529 of the upstream, and is repeated. So is the normal life of a client of the Claude API."""
_BATCHES: Final = "/v1/messages/batches"
_COUNTED: Final = {"model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "Hello"}]}
_MESSAGE: Final = {**_COUNTED, "max_tokens": 20}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that calls.

    Attributes:
        name: of its rows in the report.
        per_second: calls per second, at random times.
        call: arguments of `Client.call`.
    """

    name: str
    per_second: float
    call: Mapping[str, Any]


PROGRAMS: Final = (
    Program(
        "web: streams",
        0.9,
        {"key": "web-key", "max_tokens": 400, "timeout_seconds": 60, "x_simulator_output_tokens": "150"},
    ),
    Program("search: plain calls", 0.7, {"key": "search-key", "model": "claude-haiku-5-5", "stream": False}),
    Program("search: counts", 0.2, {"key": "search-key", "path": "/v1/messages/count_tokens", "body": _COUNTED}),
    Program("nightly: plain calls", 0.2, {"key": "nightly-key", "stream": False, "timeout_seconds": 300}),
    # 27 calls per minute, of 30 that it may make.
    Program("reports: near its own limit", 0.45, {"key": "reports-key", "stream": False, "timeout_seconds": 60}),
    Program("search: mistakes", 0.01, {"key": "search-key", "max_tokens": -1}),
)
"""Calls of one healthy installation: 2.5 per second."""
BURST: Final = Program(
    "reports: too many at once", 0, {"key": "reports-key", "stream": False, "timeout_seconds": 1, "prompt": "At once"}
)
"""A burst beyond the caller's own limit, whose calls do not wait for it."""
_BURST_CALLS: Final = 12


@dataclass
class BalancedClient(Client):
    """A client of all replicas that are in service, as behind a load balancer.

    Attributes:
        replicas: their base URLs.
    """

    replicas: list[str] = field(default_factory=list)

    @property
    def service(self) -> str:
        """Base URL of one of the replicas."""
        return random.choice(self.replicas)  # noqa: S311 - a load

    def batch(self, key: str) -> int:
        """Make a batch, wait for its end, read its results, and return the last status."""
        base, headers = self.service, {"anthropic-version": "2023-06-01", "x-api-key": key}

        def ask(path: str, body: Mapping[str, Any] | None = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            fields = {"content-type": "application/json", **headers}
            request = urllib.request.Request(base + path, data, fields)  # noqa: S310 - ours
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
                return answer.read()

        requests = [{"custom_id": f"r{number}", "params": _MESSAGE} for number in range(5)]
        try:
            made = json.loads(ask(_BATCHES, {"requests": requests}))["id"]
            while json.loads(ask(f"{_BATCHES}/{made}"))["processing_status"] != "ended":
                time.sleep(0.5)
            ask(f"{_BATCHES}/{made}/results")
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
        return 200


class Load:
    """Makes the calls of all programs at random times, whether earlier ones have ended or not (open loop).

    Attributes:
        ends: how calls ended, by program and status; 0 is a broken connection.
    """

    def __init__(self, client: BalancedClient, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self._lock = threading.Lock()
        self.ends: Counter[tuple[str, int]] = Counter()

    def run(self, seconds: float) -> None:
        """Make calls for this time, and wait until all have ended."""
        weights = [program.per_second for program in PROGRAMS]
        now = begun_at = time.monotonic()
        next_call, next_batch, next_burst, next_fault = now, now + 10, now + 60, now + 90
        with ThreadPoolExecutor(_MOST_AT_ONCE) as calls:
            while now < begun_at + seconds:
                time.sleep(max(0, next_call - now))
                calls.submit(self._call, *self._rng.choices(PROGRAMS, weights))
                next_call += self._rng.expovariate(sum(weights))
                now = time.monotonic()
                if now >= next_batch:
                    next_batch += _BATCH_SECONDS
                    calls.submit(self._batch)
                if now >= next_burst:
                    next_burst += _BURST_SECONDS
                    for _ in range(_BURST_CALLS):
                        calls.submit(self._call, BURST)
                if now >= next_fault:
                    next_fault += _FAULT_SECONDS
                    self._client.fault("overloaded", count=1)

    def _call(self, program: Program) -> None:
        self._ended(program.name, self._client.call(**program.call))

    def _batch(self) -> None:
        self._ended("nightly: batches", self._client.batch("nightly-key"))

    def _ended(self, name: str, status: int) -> None:
        with self._lock:
            self.ends[name, status] += 1
