"""A client must not be able to fill Prometheus with names that it invents."""

import random

from prometheus_client import CollectorRegistry

from support.virtual_time import VirtualClock
from tidegate.core.caller import Caller, Priority
from tidegate.core.cause import Cause
from tidegate.core.dimension import Cost
from tidegate.core.events import (
    Admitted,
    AttemptFinished,
    Event,
    FallbackUsed,
    LeaseEnded,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
    WorkflowFinished,
)
from tidegate.core.usage import Usage
from tidegate.observe.collector import PoolCollector
from tidegate.observe.exposition import new_registry
from tidegate.observe.metrics import MetricsObserver


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def observed_registry() -> tuple[CollectorRegistry, MetricsObserver]:
    registry = new_registry("0.0.0", "unknown", "claude")
    observer = MetricsObserver(registry, VirtualClock(), models=["claude-sonnet-5-5"], callers=["team-a"])
    registry.register(PoolCollector(list, observer))
    return registry, observer


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
        lambda: RefusedCall(junk(), caller, generator.choice(list(Cause))),
        lambda: RetryScheduled(junk(), junk(), 1, 1),
        lambda: Admitted(junk(), caller, Cost(1), 1),
        lambda: LeaseEnded(junk(), caller, "settled", Cost(1, 1, 1), Cost(1, 1, 1)),
        lambda: WorkflowFinished(junk()),
        lambda: FallbackUsed(junk()),
    )
    return generator.choice(makers)()


def test_junk_adds_at_most_two_hundred_series() -> None:
    registry, observer = observed_registry()
    before = series(registry)
    generator = random.Random(2)  # noqa: S311  # the same junk in every run

    for _ in range(20_000):
        observer.event(junk_event(generator))

    assert series(registry) - before <= 200


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
    }
    assert len(labels) == 52  # the known model, fifty that earned a label, and other
    assert ("other", "other") in labels
