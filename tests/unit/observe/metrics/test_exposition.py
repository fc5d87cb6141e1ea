import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from support.api_services import make_services
from support.asgi_client import call
from support.scrape import OPENMETRICS, scrape
from support.turns import turns_during
from support.virtual_time import VirtualClock
from tidegate.api.app import create_app
from tidegate.api.routes import health
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.events import AttemptFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.observe.metrics.exposition import MAX_SAMPLES, Exposition, new_registry
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry("1.2.3", "abc", "simulator")


def fill(registry: CollectorRegistry) -> None:
    """More samples in one family than a piece holds, with values that need quoting."""
    callers = [f'team-{number}"\\\n' for number in range(200)]
    metrics = MetricsObserver(registry, VirtualClock(), models=["claude-sonnet-5-5"], callers=callers, max_callers=200)
    for name in callers:
        caller = Caller(name, label=name)
        Observers(metrics.handlers).event(
            AttemptFinished("sonnet-5-5", "claude-sonnet-5-5", caller, "200", 1, 1, Usage(1, 2, 3, 4))
        )


def ours(text: bytes) -> list[bytes]:
    """Without what differs from one moment to the next."""
    return [line for line in text.splitlines() if b"process_" not in line and b"python_" not in line]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        ("application/openmetrics-text;version=new", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_what_the_scraper_asks_for(registry: CollectorRegistry, accept: str, content_type: str) -> None:
    given, pieces = Exposition(registry).pieces(accept)

    assert given == content_type
    assert b"".join(pieces).endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")


def test_says_what_runs(registry: CollectorRegistry) -> None:
    assert b'tidegate_build_info{revision="abc",upstream="simulator",version="1.2.3"} 1.0' in scrape(registry)


@pytest.mark.parametrize("name", ["process_cpu_seconds_total", "python_gc_collections_total", "python_info"])
def test_the_process_its_collector_and_interpreter_are_there(registry: CollectorRegistry, name: str) -> None:
    assert f"\n{name}".encode() in scrape(registry)


def test_the_pieces_together_are_what_the_library_renders(registry: CollectorRegistry) -> None:
    fill(registry)

    assert ours(scrape(registry)) == ours(generate_latest(registry))
    assert ours(scrape(registry, OPENMETRICS)) == ours(generate_openmetrics(registry))  # type: ignore[no-untyped-call]  # the library's


def counted(pieces: Iterator[bytes], name: str) -> list[float]:
    """The values of a counter's series."""
    lines = b"".join(pieces).decode().splitlines()
    return [float(line.partition("# {")[0].split()[-1]) for line in lines if line.startswith(name + "{")]


class Watched:
    """A service that is scraped, and what one caller spends there."""

    SPENT = "tidegate_cost_usd_total"

    def __init__(self, registry: CollectorRegistry) -> None:
        self.clock = VirtualClock()
        self.exposition = Exposition(registry, lambda: self.clock.elapsed_s)
        self._metrics = MetricsObserver(
            registry, self.clock, callers=["team-a"], exemplar=lambda: {"trace_id": "1f", "span_id": "2e"}
        )

    def spend(self, model: str) -> None:
        """A million tokens of input."""
        caller = Caller("a", label="team-a")
        usage = Usage(1_000_000)
        cost_pico_usd = PriceList.bundled().cost_pico_usd(model, usage, self.clock.wall_seconds())
        Observers(self._metrics.handlers).event(
            AttemptFinished("p", model, caller, "200", 1, 1, usage, cost_pico_usd=cost_pico_usd)
        )

    def seen(self, accept: str = OPENMETRICS, after_seconds: float = 15) -> float:
        """The spending that a scrape shows."""
        self.clock.advance(after_seconds)
        return sum(counted(self.exposition.pieces(accept)[1], self.SPENT))


def test_prometheus_sees_a_new_series_at_zero_before_it_counts(registry: CollectorRegistry) -> None:
    service = Watched(registry)
    assert service.seen() == 0
    service.spend("claude-sonnet-5-5")
    assert [service.seen(), service.seen()] == [0, 2]
    service.spend("claude-opus-5-5")
    assert [service.seen(), service.seen()] == [2, 6]
    service.spend("claude-opus-5-5")
    assert service.seen() == 10


def test_events_before_the_first_scrape_are_an_increase(registry: CollectorRegistry) -> None:
    service = Watched(registry)
    service.spend("claude-sonnet-5-5")
    assert [service.seen(), service.seen()] == [0, 2]


def test_counts_from_a_gap_between_scrapes_are_no_burst(registry: CollectorRegistry) -> None:
    service = Watched(registry)
    service.spend("claude-sonnet-5-5")
    assert service.seen(after_seconds=301) == 2
    service.spend("claude-opus-5-5")
    assert service.seen(after_seconds=301) == 6


def test_a_reader_of_plain_text_sees_the_count_and_hides_nothing_from_prometheus(registry: CollectorRegistry) -> None:
    service = Watched(registry)
    assert service.seen() == 0
    service.spend("claude-sonnet-5-5")
    assert service.seen("") == 2
    assert [service.seen(), service.seen()] == [0, 2]


def test_a_series_at_zero_has_no_example_of_what_it_counts(registry: CollectorRegistry) -> None:
    service = Watched(registry)
    _ = service.seen()
    service.spend("claude-sonnet-5-5")
    scrapes = (b"".join(service.exposition.pieces(OPENMETRICS)[1]).decode().splitlines() for _ in range(2))
    first, second = (next(line for line in text if 'status="200"' in line).partition("} ")[2] for text in scrapes)
    assert first == "0.0"
    assert second.startswith("1.0 # {")


def test_the_resources_of_the_process_are_shown(registry: CollectorRegistry) -> None:
    exposition = Exposition(registry)
    for _ in range(2):
        text = b"".join(exposition.pieces(OPENMETRICS)[1]).decode()
        used = next(line for line in text.splitlines() if line.startswith("process_cpu_seconds_total "))
        assert float(used.split()[1]) > 0


def test_no_piece_is_long(registry: CollectorRegistry) -> None:
    fill(registry)

    _, pieces = Exposition(registry).pieces()

    assert max(sum(not line.startswith(b"#") for line in piece.splitlines()) for piece in pieces) == MAX_SAMPLES


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_loop_serves_others_while_a_scrape_is_rendered(
    registry: CollectorRegistry, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_TURN_SECONDS", 0.0)  # as if each piece took 2 ms
    fill(registry)
    pieces = len([*Exposition(registry).pieces(accept)[1]])
    app = create_app(make_services(exposition=Exposition(registry)))
    served, answer = asyncio.run(turns_during(call(app, "GET", "/metrics", headers={"accept": accept})))
    assert answer.body.count(b"\n") > 1_000
    assert served >= pieces
