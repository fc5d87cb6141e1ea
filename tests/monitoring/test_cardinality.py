"""A client must not be able to fill Prometheus with names that it invents."""

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from prometheus_client import CollectorRegistry

from support.api_services import make_services
from support.asgi_client import call
from support.gateway import FakeTransport, error, make_gateway
from support.scrape import OPENMETRICS, scrape
from support.snapshots import idle_pool
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.app import create_app
from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import DIMENSIONS, Cost
from tidegate.core.domain.events import (
    Admitted,
    Anomaly,
    AttemptFinished,
    Event,
    FallbackUsed,
    HeadRefused,
    LeaseEnded,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
    WorkflowFinished,
)
from tidegate.core.domain.snapshots import ClassSnapshot, DimensionSnapshot
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.observe.metrics.collectors.granted_quota import QuotaCollector
from tidegate.observe.metrics.collectors.pool_collector import PoolCollector
from tidegate.observe.metrics.exposition import new_registry
from tidegate.observe.metrics.labels import ROUTES
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers

METHODS = ("GET", "POST", "PUT", "BREW")
HEADERS = (
    *("x-api-key", "authorization", "user-agent", "x-tidegate-hop", "x-tidegate-timeout-seconds", "traceparent"),
    *("anthropic-version", "anthropic-beta", "x-stainless-timeout", "origin", "content-type"),
)
PATHS = (
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches/{}", "/v1/models/{}", "/v1/files/{}"),
    *("/v1/{}", "/api/{}", "/api/system/{}", "/api/workflows/generate", "/{}", "/metrics/{}"),
)


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def observed_registry() -> tuple[CollectorRegistry, Observers]:
    registry = new_registry("0.0.0", "unknown", "claude")
    metrics = MetricsObserver(registry, VirtualClock(), models=["claude-sonnet-5-5"], callers=["team-a"])
    registry.register(PoolCollector(list, metrics))
    return registry, Observers(metrics.handlers)


def junk_event(generator: random.Random) -> Event:
    def junk() -> str:
        return f"x{generator.getrandbits(64):x}\n\"'"

    caller = Caller(junk(), label=junk())
    status = generator.choice(("400", "404", junk()))
    usage = Usage(1, 2, 3, 4)
    makers = (
        lambda: RequestFinished(junk(), junk(), caller, junk(), 1, 1),
        lambda: AttemptFinished(junk(), junk(), caller, status, 1, 1, usage),
        lambda: UpstreamRateLimited(junk(), junk(), None),
        lambda: SpendCapReached(junk()),
        lambda: Anomaly(junk(), junk()),
        lambda: RefusedCall(junk(), caller, generator.choice(list(Cause))),
        lambda: RetryScheduled(junk(), junk(), 1, 1),
        lambda: Admitted(junk(), caller, Cost(1), 1),
        lambda: LeaseEnded(junk(), caller, "settled", Cost(1, 1, 1), Cost(1, 1, 1)),
        lambda: WorkflowFinished(junk()),
        lambda: FallbackUsed(junk()),
        lambda: HeadRefused(generator.getrandbits(10), junk()),
    )
    return generator.choice(makers)()


@pytest.mark.parametrize("events", [20_000, pytest.param(100_000, marks=pytest.mark.alerts)])
def test_junk_events_add_at_most_two_hundred_series(events: int) -> None:
    registry, observer = observed_registry()
    before = series(registry)
    generator = random.Random(2)  # noqa: S311  # the same junk in every run

    for _ in range(events):
        observer.event(junk_event(generator))

    assert series(registry) - before <= 200


@pytest.mark.parametrize(
    "requests", [3_000, pytest.param(100_000, marks=(pytest.mark.alerts, pytest.mark.timeout(400)))]
)
def test_junk_requests_from_a_cold_start_add_at_most_two_hundred_series(requests: int) -> None:
    registry, observer = observed_registry()
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([error(404, "not_found_error")]), clock, listener=observer.event)
    app = create_app(make_services(gateway=rig.gateway, observer=observer, clock=clock))
    generator = random.Random(3)  # noqa: S311  # as above

    def junk() -> str:
        return f"x{generator.getrandbits(64):x}"

    async def send_junk() -> None:
        for number in range(requests):
            path = PATHS[number % len(PATHS)].format(junk())
            body = {"model": junk(), "max_tokens": 1, "stream": number % 3 == 0, "messages": [], junk(): junk()}
            headers = {name: junk() for name in generator.sample(HEADERS, 4)}
            await call(app, generator.choice(METHODS), path, body=body, headers=headers)

    before = series(registry)
    run_virtual(send_junk(), clock)

    assert series(registry) - before <= 200
    ended = rig.observer.of(RequestFinished)
    assert {event.route for event in ended} == {route for route in ROUTES if route.startswith("/v1/")}
    assert {event.outcome for event in ended} == {"client_error"}
    labels = {"pool": "none", "caller": "default", "cause": "forbidden"}
    assert registry.get_sample_value("tidegate_refused_total", labels)


@pytest.mark.parametrize("callers", [50, 1_000])
def test_the_series_of_ten_pools_are_bounded_however_many_callers_there_are(callers: int) -> None:
    # One model of each pool that the price list knows, and one that has no price.
    models = [*{model_pool(model): model for model in PriceList.bundled().models}.values(), "claude-mythos-5"]
    assert len({model_pool(model) for model in models}) == 10
    names = [f"team-{number}" for number in range(callers)]
    clock = VirtualClock()
    registry = new_registry("0.0.0", "unknown", "claude")
    metrics = MetricsObserver(registry, clock, models=models, callers=names, classes=Priority)
    observer = Observers(metrics.handlers)
    limits = tuple(DimensionSnapshot(dimension, 60.0, 60.0, 60.0, 6.0, 6.0, "configured") for dimension in DIMENSIONS)
    waiters = ClassSnapshot(waiting=callers, by_caller=dict.fromkeys(names, 1))
    snapshots = [
        replace(idle_pool(model_pool(model), *limits), classes={"standard": waiters}, binding="output_tokens")
        for model in models
    ]
    registry.register(PoolCollector(lambda: snapshots, metrics))
    registry.register(QuotaCollector(lambda: snapshots, clock, metrics))

    for name in names[-50:]:  # these get all labels that there are
        for _ in range(150):
            observer.event(RequestFinished("/v1/messages", "", Caller(name, label=name), "ok", 1, 1))
    for model, name in product(models, names[-60:]):  # ten callers without a label have all series of the others
        for event in events_of_all_kinds(model, Caller(name, label=name)):
            observer.event(event)

    labels = {
        sample.labels["caller"]
        for family in registry.collect()
        for sample in family.samples
        if "caller" in sample.labels
    }
    assert labels == {*names[-50:], "default", *(["other"] if callers > 50 else [])}
    waiting = {"pool": "sonnet-5-5", "caller": "other", "limit": "output_tokens"}
    assert (registry.get_sample_value("tidegate_caller_waiting", waiting) or 0) == callers - 50
    count = series(registry)
    assert 5_000 < count <= 7_600, f"{count} series: create fewer at 0, or bound their labels more tightly"
    on_the_wire = len(gzip.compress(scrape(registry, OPENMETRICS), 1))
    assert on_the_wire <= 60_000, f"{on_the_wire} bytes: a scrape every 15 s takes as much"


def events_of_all_kinds(model: str, caller: Caller) -> Iterator[Event]:
    """What calls of a caller add to all series that have its label, or those of the model."""
    pool = model_pool(model)
    for priority in Priority:
        yield Admitted(pool, replace(caller, priority=priority), Cost(1, 10, 10), 1)
    for status in ("429", "500", "529", "error"):
        yield AttemptFinished(pool, model, caller, status, 1)
    for reason in ("rate_limited", "overloaded", "server_error"):
        yield RetryScheduled(pool, reason, 1, 1)
    yield AttemptFinished(pool, model, caller, "200", 1, 1, Usage(1, 2, 3, 4))
    yield LeaseEnded(pool, caller, "settled", Cost(1, 10, 10), Cost(1, 10, 10))
    yield RequestFinished("/v1/messages", pool, caller, "ok", 1, 1)
    yield RefusedCall(pool, caller, Cause.DEADLINE)


def test_models_that_the_upstream_confirms_are_bounded() -> None:
    registry, observer = observed_registry()
    caller = Caller("a", label="team-a", priority=Priority.BATCH)

    for number in range(200):
        observer.event(AttemptFinished(f"m{number}", f"claude-m{number}", caller, "200", 1, 1, Usage(1, 1)))

    labels = {
        (sample.labels["pool"], sample.labels["model"])
        for family in registry.collect()
        if family.name == "tidegate_upstream_attempts"
        for sample in family.samples
        if sample.labels["model"] != "none"
    }
    assert len(labels) == 52  # the known model, fifty that earned a label, and other
    assert ("other", "other") in labels
