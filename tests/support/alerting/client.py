"""A client of a service and of its simulator, for one call or for load."""

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

MODEL = "claude-sonnet-5-5"


class Client:
    """Calls the service, and adds faults to the simulator.

    Attributes:
        simulator: Base URL of the simulator.
    """

    simulator = ""

    @property
    def service(self) -> str:
        """Base URL of the service."""
        raise NotImplementedError

    def fault(self, kind: str, **fault: Any) -> None:
        """Add a fault to the simulator."""
        self._ask(f"{self.simulator}/simulator/faults", {"kind": kind, **fault})

    def clear(self) -> None:
        """Remove all faults of the simulator."""
        self._ask(f"{self.simulator}/simulator/faults", method="DELETE")

    def call(
        self,
        model: str = MODEL,
        *,
        path: str = "/v1/messages",
        body: Mapping[str, Any] | None = None,
        prompt: str = "Hi",
        max_tokens: int = 5,
        stream: bool = True,
        key: str = "any",
        timeout_seconds: float = 10,
        **headers: str,
    ) -> int:
        """Make a call and return its status, 0 if the connection broke; other keywords are headers."""
        message = {
            "model": model,
            "max_tokens": max_tokens,
            "stream": stream,
            "messages": [{"role": "user", "content": prompt}],
        }
        fields = {
            "anthropic-version": "2023-06-01",
            "x-api-key": key,
            "x-tidegate-timeout-seconds": str(timeout_seconds),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        with suppress(OSError, http.client.HTTPException):  # the alerts report failures
            return self._ask(self.service + path, body or message, fields, timeout_seconds=timeout_seconds + 30)
        return 0

    def configure(self, **limits: Any) -> None:
        """Set limits at run time."""
        status = self._ask(f"{self.service}/api/system/rate-limiting/configure", limits)
        assert status == 200, status

    def together(self, count: int, **call: Any) -> list[int]:
        """Make calls concurrently, and return their statuses."""
        with ThreadPoolExecutor(count) as callers:
            return list(callers.map(lambda _: self.call(**call), range(count)))

    @contextmanager
    def load(self, *calls: Mapping[str, Any], workers: int = 4, pause_seconds: float = 0.02) -> Iterator[None]:
        """Run workers that repeat these calls until the end of the block."""
        rhythm = calls or ({},)
        over, lock, made = threading.Event(), threading.Lock(), 0

        def work() -> None:
            nonlocal made
            while not over.is_set():
                with lock:
                    call, made = rhythm[made % len(rhythm)], made + 1
                self.call(**call)
                over.wait(pause_seconds)

        with ThreadPoolExecutor(workers) as pool:
            loads = [pool.submit(work) for _ in range(workers)]
            try:
                yield
            finally:
                over.set()
        for each in loads:
            each.result()

    def _ask(
        self,
        url: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        timeout_seconds: float = 30,
    ) -> int:
        data = None if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data, fields, method=method)  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - ours
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)
