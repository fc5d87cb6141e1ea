"""After any failure, a pool agrees with the upstream: usage and remaining quota in all three dimensions.

The service has learned the cost of ordinary calls before. A failed call without reported usage is charged its estimate,
which is within a few tokens because all calls are alike.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx2
import pytest

from support.breaking_proxy import (
    Break,
    arrives,
    breaking_proxy,
    cut_at,
    half_the_body,
    half_the_head,
    no_byte,
    replaced,
    the_head,
)
from support.certificates import server_context
from support.faulty_upstream import QUICK, FaultyUpstream, faulty_upstream
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator

pytestmark = pytest.mark.clients

DIMENSIONS = ("requests", "input_tokens", "output_tokens")
FAMILY = "claude-haiku-5-5"
POOL = 'pool="haiku-5-5"'
LEARNS_FROM_CALLS = 40
FAULTS = 2
OUTPUT_TOKENS = 200
CALL = {
    "model": "claude-haiku-5-5",
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "Say something about the sea. " * 120}],
}
HEADERS = {
    "x-api-key": "k",
    "anthropic-version": "2023-06-01",
    "x-simulator-output-tokens": str(OUTPUT_TOKENS),
    "accept-encoding": "identity",
}
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
INPUT_TOKENS = 880
"""Approximate tokens of `CALL`."""


@dataclass
class Books:
    """One side's usage and remaining quota."""

    charged: dict[str, float]
    left: dict[str, float]


@dataclass
class Bookkeeping:
    """The service, possibly with a breaking proxy, and the initial difference between both sides."""

    on: ServiceAndSimulator
    way: FaultyUpstream | None = None
    before: dict[str, float] = field(default_factory=dict)

    def ours(self) -> Books:
        found = {
            name: value
            for labels, value in self.on.metrics("tidegate_available").items()
            for name in DIMENSIONS
            if f'"{name}"' in labels and POOL in labels
        }
        return Books({name: self.on.charged(name) for name in DIMENSIONS}, found)

    def theirs(self) -> Books:
        pool = self.on.state()["pools"][FAMILY]
        left = {name.replace("-", "_"): value for name, value in pool["remaining"].items()}
        return Books({name: pool[name] for name in DIMENSIONS}, left)

    def apart(self) -> dict[str, float]:
        """Our charges minus the upstream's."""
        ours, theirs = self.ours().charged, self.theirs().charged
        return {name: ours[name] - theirs[name] for name in DIMENSIONS}

    def ask(self, *, stream: bool = False, headers: Mapping[str, str] = NO_HEADERS) -> int:
        """Make a call. Return its status; 0 if the response was incomplete."""
        call = {**CALL, "stream": stream}
        url = f"{self.on.service.url}/v1/messages"
        try:
            return httpx2.post(url, json=call, headers={**HEADERS, **headers}, timeout=30).status_code
        except httpx2.TransportError:
            return 0

    def ordinary_calls(self, *, stream: bool, calls: int) -> None:
        with ThreadPoolExecutor(8) as at_once:
            assert set(at_once.map(lambda _: self.ask(stream=stream), range(calls))) == {200}

    def begin(self) -> None:
        """Record the initial difference."""
        self.on.comes_to_rest()
        self.before = self.apart()

    def befalls(self, kind: str, **fields: float) -> None:
        """Add a fault for the next requests."""
        fault = {"kind": kind, "count": FAULTS, **fields}
        httpx2.post(f"{self.on.simulator.url}/simulator/faults", json=fault).raise_for_status()

    def breaks(self, break_: Break) -> None:
        assert self.way is not None
        self.way.fault = breaking_proxy(self.on.simulator.url, break_)

    def fail(self, break_: Break, *, stream: bool = False) -> int:
        """Make calls whose responses break on their way. Return how many the upstream answered at most.

        A call of which nothing was relayed is made again.
        """
        self.breaks(arrives)
        self.begin()
        self.breaks(break_)
        for _ in range(FAULTS):
            self.ask(stream=stream)
        self.breaks(arrives)
        return 2 * FAULTS

    def agree(self, *, input_tokens: float = 0, output_tokens: float = 0) -> None:
        """Check that both sides have charged the same since, except for these tokens."""
        self.on.comes_to_rest()
        apart = {name: value - self.before[name] for name, value in self.apart().items()}
        assert apart["requests"] == 0, apart
        assert abs(apart["input_tokens"]) <= input_tokens, apart
        assert abs(apart["output_tokens"]) <= output_tokens, apart


@contextlib.contextmanager
def bookkeeping(
    directory: Path,
    *options: str,
    way: FaultyUpstream | None = None,
    per_token_seconds: float = 0.0003,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Bookkeeping]:
    variables = {**QUICK, **({"TIDEGATE_UPSTREAM_URL": way.url} if way else {}), **variables}
    seconds = {"per_token_seconds": per_token_seconds}
    with service_and_simulator(directory, options=options, variables=variables, **seconds) as on:
        books = Bookkeeping(on, way)
        if way:
            books.breaks(arrives)
        for stream in (False, True):
            books.ordinary_calls(stream=stream, calls=LEARNS_FROM_CALLS)
        yield books


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookkeeping]:
    with bookkeeping(tmp_path_factory.mktemp("straight")) as books:
        yield books


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookkeeping]:
    with faulty_upstream() as way, bookkeeping(tmp_path_factory.mktemp("breaking"), way=way) as books:
        yield books


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookkeeping]:
    directory = tmp_path_factory.mktemp("slow")
    with bookkeeping(directory, "--first-token-seconds=0.2", per_token_seconds=0.02) as books:
        yield books


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "fault", ["overloaded", "internal_error", "gateway_timeout", "bad_gateway", "rate_limited_bare"]
)
def test_an_error_of_the_upstream_costs_nothing(straight: Bookkeeping, fault: str, *, stream: bool) -> None:
    straight.begin()
    straight.befalls(fault)
    for _ in range(FAULTS):
        straight.ask(stream=stream)
    straight.agree()


@pytest.mark.parametrize("fault", ["unauthenticated", "forbidden", "too_large"])
def test_an_error_of_the_client_costs_nothing(straight: Bookkeeping, fault: str) -> None:
    straight.begin()
    for _ in range(FAULTS):
        assert straight.ask(headers={"x-simulator-fault": fault}) in {403, 413, 502}
    straight.agree()


@pytest.mark.parametrize("after_events", [0, 2, 30])
@pytest.mark.parametrize("fault", ["stream_error", "cut"])
def test_a_stream_that_fails_costs_its_prompt_and_its_output(
    straight: Bookkeeping, fault: str, after_events: int
) -> None:
    """Before `message_start` the size of the prompt is unknown."""
    straight.begin()
    straight.befalls(fault, after_events=after_events)
    for _ in range(FAULTS):
        straight.ask(stream=True)
    straight.agree(input_tokens=0 if after_events else 0.05 * FAULTS * INPUT_TOKENS, output_tokens=FAULTS * 8)


BREAKS: dict[str, Break] = {
    "reset before the head": cut_at(no_byte, reset=True),
    "closed before the head": cut_at(no_byte),
    "half a head": cut_at(half_the_head),
    "reset after the head": cut_at(the_head, reset=True),
    "half a body": cut_at(half_the_body),
    "a reset in the body": cut_at(half_the_body, reset=True),
    "a stalled body": cut_at(half_the_body, stalls=True),
    "too long a length": replaced(b"content-length: ", b"content-length: 9"),
    "a page of HTML": replaced(b"content-type: application/json", b"content-type: text/html"),
}


@pytest.mark.parametrize("break_", BREAKS.values(), ids=BREAKS.keys())
def test_a_response_that_breaks_on_its_way_costs_its_estimate(breaking: Bookkeeping, break_: Break) -> None:
    failed = breaking.fail(break_)
    breaking.agree(input_tokens=0.05 * failed * INPUT_TOKENS, output_tokens=0.25 * failed * OUTPUT_TOKENS)


BROKEN_STREAMS: dict[str, Break] = {
    **{name: break_ for name, break_ in BREAKS.items() if "head" in name or "body" in name},
    "an event that is none": replaced(b"data: {", b"data: }"),
}


@pytest.mark.parametrize("break_", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys())
def test_a_stream_that_breaks_on_its_way_costs_its_known_usage(breaking: Bookkeeping, break_: Break) -> None:
    """Usage in lost events is unknown: at most the rest of the response."""
    failed = breaking.fail(break_, stream=True)
    breaking.agree(input_tokens=0.05 * failed * INPUT_TOKENS, output_tokens=failed * OUTPUT_TOKENS)


def costs_nothing(books: Bookkeeping, comes_back: Callable[[], None]) -> None:
    """Make calls that cannot connect, and one that can."""
    soon = {"x-tidegate-timeout-seconds": "1"}
    for _ in range(FAULTS):
        assert books.ask(headers=soon) in {502, 504, 529}  # 529: so many have failed that the circuit is open
    comes_back()
    assert books.ask() == 200
    books.agree()


def test_a_connection_that_is_refused_costs_nothing(breaking: Bookkeeping) -> None:
    way = breaking.way
    assert way is not None
    breaking.breaks(arrives)
    breaking.begin()
    way.refuses()
    costs_nothing(breaking, lambda: way.listens(None))


def test_a_connection_whose_tls_fails_costs_nothing(tmp_path: Path) -> None:
    """An untrusted certificate, and then a server without TLS."""
    for place in ("known", "unknown"):
        (tmp_path / place).mkdir()
    known, unknown = (server_context(tmp_path / place) for place in ("known", "unknown"))
    with faulty_upstream(known) as way:
        variables = {
            "TIDEGATE_UPSTREAM_URL": way.url.replace("http://127.0.0.1", "https://localhost"),
            "SSL_CERT_FILE": str(tmp_path / "known" / "certificate.pem"),
        }
        with bookkeeping(tmp_path, way=way, variables=variables) as books:
            for wrong in (unknown, None):
                books.begin()
                way.refuses()
                way.listens(wrong)

                def comes_back() -> None:
                    way.refuses()
                    way.listens(known)

                costs_nothing(books, comes_back)


def leaves_after(on: ServiceAndSimulator, seconds: float, *, stream: bool) -> None:
    """Send a whole request, and close the connection later."""
    address = urlsplit(on.service.url)
    body = json.dumps({**CALL, "stream": stream}).encode()
    fields = {**HEADERS, "host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    head = "POST /v1/messages HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        time.sleep(seconds)


@pytest.mark.parametrize("seconds", [0.05, 1.0])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_disconnects_pays_for_its_output(slow: Bookkeeping, seconds: float, *, stream: bool) -> None:
    """At 20 ms per token, after 0.2 s: nothing at first, then about 40 tokens, or a third of the response.

    Before the first token the upstream also has only an estimate of the prompt.
    """
    slow.begin()
    for _ in range(FAULTS):
        leaves_after(slow.on, seconds, stream=stream)
    slow.agree(input_tokens=0.3 * FAULTS * INPUT_TOKENS, output_tokens=FAULTS * 35)


def test_a_call_that_exceeds_its_deadline_costs_its_output(slow: Bookkeeping) -> None:
    slow.begin()
    for _ in range(FAULTS):
        assert slow.ask(headers={"x-tidegate-timeout-seconds": "1.4"}) == 504
    slow.agree(input_tokens=0.05 * FAULTS * INPUT_TOKENS, output_tokens=FAULTS * 35)


def test_the_remaining_quota_is_corrected_after_failures(tmp_path: Path) -> None:
    """Each response reports the remaining quota, with tokens rounded to thousands: that corrects unknown usage."""
    little = ("--requests-per-minute=120", "--input-tokens-per-minute=120000", "--output-tokens-per-minute=24000")
    with bookkeeping(tmp_path, *little) as books:
        for fault in ("overloaded", "internal_error", "stream_error", "cut"):
            books.befalls(fault)
            books.ask(stream=True)
        for _ in range(FAULTS):
            leaves_after(books.on, 0.02, stream=False)
        for _ in range(FAULTS):
            books.ask()
        books.on.comes_to_rest()
        before, ours, after = books.theirs().left, books.ours().left, books.theirs().left
        assert after["requests"] < 110, "the bucket is not full"
        for name, tolerance in {"requests": 1, "input_tokens": 1_000, "output_tokens": 1_000}.items():
            assert before[name] - tolerance <= ours[name] <= after[name] + tolerance, (name, before, ours, after)
