import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from support.api_services import make_services
from support.asgi_client import call
from support.scrape import OPENMETRICS, scrape
from support.virtual_time import VirtualClock
from tidegate.api.app import create_app
from tidegate.core.caller import Caller
from tidegate.core.events import AttemptFinished
from tidegate.core.usage import Usage
from tidegate.observe.exposition import MOST_SAMPLES, Exposition, new_registry
from tidegate.observe.metrics import MetricsObserver


@pytest.fixture
def registry() -> CollectorRegistry:
    return new_registry("1.2.3", "abc", "simulator")


def fill(registry: CollectorRegistry) -> None:
    """More samples in one family than a piece holds, with values that need quoting."""
    callers = [f'team-{number}"\\\n' for number in range(200)]
    metrics = MetricsObserver(registry, VirtualClock(), models=["claude-sonnet-5-5"], callers=callers)
    for name in callers:
        caller = Caller(name, label=name)
        metrics.event(AttemptFinished("sonnet-5-5", "claude-sonnet-5-5", caller, "200", 1, 1, Usage(1, 2, 3, 4)))


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


def test_no_piece_is_long(registry: CollectorRegistry) -> None:
    fill(registry)

    _, pieces = Exposition(registry).pieces()

    assert max(sum(not line.startswith(b"#") for line in piece.splitlines()) for piece in pieces) == MOST_SAMPLES


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_loop_serves_others_while_a_scrape_is_rendered(registry: CollectorRegistry, accept: str) -> None:
    fill(registry)
    pieces = len([*Exposition(registry).pieces(accept)[1]])
    served = 0

    async def others() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    async def main() -> None:
        app = create_app(make_services(exposition=Exposition(registry)))
        at_work = asyncio.create_task(others())
        answer = await call(app, "GET", "/metrics", headers={"accept": accept})
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
        assert answer.body.count(b"\n") > 1_000

    asyncio.run(main())
    assert served >= pieces
