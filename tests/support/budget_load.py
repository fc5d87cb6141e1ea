"""Calls of heavy-tailed lengths against a budget, and how much more than they have reserved they may cost."""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support import otlp
from support.service_process import ServiceProcess

__all__ = ["LIMIT_USD", "BudgetLoad", "budget_file", "spent_usd", "tracing"]

LIMIT_USD = 5.0
_OPUS_INPUT_USD, _OPUS_OUTPUT_USD = 4e-6, 20e-6
_CALLS = 200
_AT_ONCE = 40
_HEADERS = {"anthropic-version": "2023-06-01"}
_EXPORT_MS = "100"


def budget_file() -> str:
    """The configuration of one budget for all."""
    return f'[[budgets]]\nname = "all"\nlimit = {LIMIT_USD}\nper = "total"\n'


def tracing(collector: otlp.Received) -> Mapping[str, str]:
    """The variables of a service whose spans say what each call has reserved."""
    return {**otlp.environment("http/protobuf", collector.url), "OTEL_BSP_SCHEDULE_DELAY": _EXPORT_MS}


def spent_usd(simulator: ServiceProcess) -> float:
    """What the calls have cost by the simulator's own books."""
    pools = httpx2.get(f"{simulator.url}/simulator/state").json()["pools"].values()
    usd = [pool["input_tokens"] * _OPUS_INPUT_USD + pool["output_tokens"] * _OPUS_OUTPUT_USD for pool in pools]
    return float(sum(usd))


@dataclass
class _Call:
    """A call. Times are in seconds since 1970-01-01 UTC.

    Attributes:
        usd: what its whole response costs.
        status: 0 for a broken connection.
        reserved_usd: what it has reserved; nothing, if the service was killed before it could say so.
        admitted: when it was admitted; before, if that is unknown.
        settled: when it was settled at the latest.
    """

    usd: float
    status: int = -1
    reserved_usd: float = 0.0
    admitted: float = 0.0
    settled: float = 0.0

    @property
    def excess_usd(self) -> float:
        """How much more than it has reserved it may have cost."""
        return max(0.0, self.usd - self.reserved_usd)


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

    def learn(self, collector: otlp.Received, killed: float = 0.0) -> None:
        """Take in what the services have said of the calls, once they have told of all since a service was killed."""
        answered = {number for number, call in enumerate(self.calls) if call.status == 200 and call.admitted > killed}
        deadline = time.monotonic() + 30
        while not answered <= (told := {_number(each) for each in collector.spans() if _is_call(each)}):
            assert time.monotonic() < deadline, answered - told
            time.sleep(0.1)
        for span in collector.spans():
            if _number(span) >= _CALLS:
                continue  # of another request
            call = self.calls[_number(span)]
            if _is_call(span):
                call.settled = max(call.settled, span.end_time_unix_nano / 1e9)
            elif span.name == "tidegate.acquire" and call.status in {0, 200}:
                said = otlp.values(span.attributes)
                call.admitted = span.end_time_unix_nano / 1e9
                call.reserved_usd = (
                    said["tidegate.cost.input_tokens"] * _OPUS_INPUT_USD
                    + said["tidegate.cost.output_tokens"] * _OPUS_OUTPUT_USD
                )

    def make_one(self, url: str) -> httpx2.Response:
        """One more call, as expensive as the longest."""
        return self._post(url, max(self._lengths), _CALLS, stream=False)

    def statuses(self) -> set[int]:
        """The statuses of all calls; 0 for a broken connection."""
        return {call.status for call in self.calls}

    def last_admitted(self) -> float:
        """When the budget admitted a call for the last time."""
        return max(call.admitted for call in self.calls if call.status == 200)

    def mispriced_usd(self, at: float, late_seconds: float = 0.0) -> float:
        """How much more than they have reserved the calls may have cost that were in flight at a moment.

        `late_seconds`: for so long a call that has ended may count as in flight.
        """
        return self._excess(call for call in self.calls if call.admitted <= at <= call.settled + late_seconds)

    def forgotten_usd(self, since: float, until: float) -> float:
        """What the calls have cost that were admitted or settled within a time."""
        return sum(
            call.usd
            for call in self.calls
            if call.status in {0, 200} and (since <= call.admitted <= until or since <= call.settled <= until)
        )

    @staticmethod
    def _excess(calls: Iterable[_Call]) -> float:
        return sum(call.excess_usd for call in calls if call.status in {0, 200})

    def _make(self, number: int) -> None:
        call = self.calls[number]
        url, call.admitted, status = self.url_of(number), time.time(), 0
        with contextlib.suppress(httpx2.TransportError):
            status = self._post(url, self._lengths[number], number, stream=number % 2 == 0).status_code
        call.settled, call.status = time.time(), status
        self.on_done(sum(each.status >= 0 for each in self.calls))

    @staticmethod
    def _post(url: str, output_tokens: int, number: int, *, stream: bool) -> httpx2.Response:
        body = {
            "model": "claude-opus-5-5",
            "max_tokens": 32_000,
            "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        }
        headers = {
            **_HEADERS,
            "x-simulator-output-tokens": str(output_tokens),
            "traceparent": f"00-{number + 1:032x}-{1:016x}-01",
        }
        return httpx2.post(f"{url}/v1/messages", json=body, headers=headers, timeout=60)


def _number(span: Span) -> int:
    """The number of the call to which a span belongs."""
    return int.from_bytes(span.trace_id, "big") - 1


def _is_call(span: Span) -> bool:
    """Whether a span is that of a whole call. It ends after the call is settled."""
    return span.name == "POST /v1/messages"
