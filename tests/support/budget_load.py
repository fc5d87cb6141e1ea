"""Calls of heavy-tailed lengths against a budget, and how much they may spend beyond it."""

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx2

from support.service_process import ServiceProcess

__all__ = ["LIMIT_USD", "BudgetLoad", "budget_file", "spent_usd"]

LIMIT_USD = 5.0
_OPUS_INPUT_USD, _OPUS_OUTPUT_USD = 4e-6, 20e-6
_CALLS = 200
_AT_ONCE = 40
_HEADERS = {"anthropic-version": "2023-06-01"}


def budget_file() -> str:
    """The configuration of one budget for all."""
    return f'[[budgets]]\nname = "all"\nlimit = {LIMIT_USD}\nper = "total"\n'


def spent_usd(simulator: ServiceProcess) -> float:
    """What the calls have cost by the simulator's own books."""
    pools = httpx2.get(f"{simulator.url}/simulator/state").json()["pools"].values()
    usd = [pool["input_tokens"] * _OPUS_INPUT_USD + pool["output_tokens"] * _OPUS_OUTPUT_USD for pool in pools]
    return float(sum(usd))


@dataclass
class _Call:
    usd: float
    began: float = 0.0
    ended: float = 0.0
    status: int = 0


@dataclass
class BudgetLoad:
    """200 calls, half of them streams, 40 at a time, which cost about three times the budget.

    Attributes:
        url_of: returns the address for a call by its number.
        on_done: called with the number of calls that have ended, after each.
    """

    url_of: Callable[[int], str]
    on_done: Callable[[int], None] = lambda _count: None
    calls: Sequence[_Call] = field(init=False)
    _lengths: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        dice = random.Random(1)  # noqa: S311 - a load, not a secret
        self._lengths = [min(30_000, int(dice.paretovariate(1.1) * 1_000)) for _ in range(_CALLS)]
        self.calls = [_Call(length * _OPUS_OUTPUT_USD) for length in self._lengths]
        assert sum(call.usd for call in self.calls) > 1.5 * LIMIT_USD

    def run(self) -> None:
        """Make all calls. A call whose connection breaks is not repeated."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(self._make, range(_CALLS)))

    def now(self) -> float:
        """The time of these calls."""
        return time.monotonic()

    def make_one(self, url: str) -> httpx2.Response:
        """One more call, as expensive as the longest."""
        return self._post(url, max(self._lengths), stream=False)

    def statuses(self) -> set[int]:
        """The statuses of all calls; 0 for a broken connection."""
        return {call.status for call in self.calls}

    def in_flight_usd(self, at: float | None = None) -> float:
        """The cost of the calls that were under way at a moment; by default, when the last call was admitted.

        What such calls cost beyond their estimates is less than that.
        """
        if at is None:
            at = max(call.began for call in self.calls if call.status == 200)
        return sum(call.usd for call in self.calls if call.began <= at <= call.ended and call.status in {0, 200})

    def ended_usd(self, since: float, until: float) -> float:
        """The cost of the calls that ended within a time."""
        return sum(call.usd for call in self.calls if since <= call.ended <= until and call.status == 200)

    def _make(self, number: int) -> None:
        call = self.calls[number]
        call.began = time.monotonic()
        with contextlib.suppress(httpx2.TransportError):
            call.status = self._post(self.url_of(number), self._lengths[number], stream=number % 2 == 0).status_code
        call.ended = time.monotonic()
        self.on_done(sum(each.ended > 0 for each in self.calls))

    @staticmethod
    def _post(url: str, output_tokens: int, *, stream: bool) -> httpx2.Response:
        body = {
            "model": "claude-opus-5-5",
            "max_tokens": 32_000,
            "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        }
        headers = {**_HEADERS, "x-simulator-output-tokens": str(output_tokens)}
        return httpx2.post(f"{url}/v1/messages", json=body, headers=headers, timeout=60)
