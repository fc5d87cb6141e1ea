import random
from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Admitted, AttemptFinished, RefusedCall, RequestFinished
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.usage import Usage
from tidegate.observe.metrics.caller_labels import CallerLabels
from tidegate.observe.metrics.labels import NONE, OTHER
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers

_MODEL = "claude-sonnet-5-5"
_POOL = "sonnet-5-5"
_BY_CALLER = {
    "tidegate_requests": RequestFinished,
    "tidegate_refused": RefusedCall,
    "tidegate_tokens": AttemptFinished,
    "tidegate_caller_wait_seconds": Admitted,
}


def test_all_callers_have_their_own_label_from_the_start_if_there_is_room_for_all() -> None:
    labels = CallerLabels(2)

    labels.know(["web"])
    labels.know(["web", "nightly"])

    assert labels.in_use == ["default", "nightly", "web"]
    assert [labels.label(name) for name in ("web", "nightly", "invented", "")] == ["web", "nightly", OTHER, NONE]


def test_of_too_many_callers_the_first_half_of_the_labels_goes_to_those_used_first() -> None:
    labels = CallerLabels(4)
    labels.know(["a", "b", "c", "d", "e"])
    assert labels.in_use == ["default", OTHER]

    assert [labels.use(name) for name in ("e", "d", "c")] == [True, True, False]

    assert labels.in_use == ["d", "default", "e", OTHER]
    assert [labels.label(name) for name in "abcde"] == [OTHER, OTHER, OTHER, "d", "e"]


def test_the_second_half_of_the_labels_goes_to_the_callers_used_most() -> None:
    # All 300 callers are used. Five make 3 % of all calls each, and the others 0.3 %.
    labels = CallerLabels(20)
    callers = [f"caller-{number}" for number in range(300)]
    labels.know(callers)
    for name in callers[:10]:
        assert labels.use(name)
    generator = random.Random(1)  # noqa: S311  # the same calls in every run
    busiest = callers[100:105]
    weights = [9 if name in busiest else 1 for name in callers]

    for name in generator.choices(callers, weights, k=20_000):
        labels.use(name)

    assert set(labels.own) == {"default", *callers[:10], *busiest}


def test_callers_that_are_not_known_earn_no_label() -> None:
    labels = CallerLabels(4)
    labels.know(["a", "b", "c", "d", "e"])

    assert not any(labels.use(name) for name in ("invented", "", OTHER, NONE, "default"))

    assert labels.own == ["default"]
    assert [labels.known(name) for name in ("a", "default", "invented")] == ["a", "default", OTHER]
    assert [labels.label_of_name(name) for name in ("a", "default", "invented")] == [OTHER, "default", "default"]


def test_a_caller_keeps_its_label_when_more_callers_become_known() -> None:
    labels = CallerLabels(3)
    labels.know(["a", "b"])

    labels.know(["c", "d"])

    assert [labels.label(name) for name in "abcd"] == ["a", "b", OTHER, OTHER]


def test_callers_that_share_a_label_do_not_share_the_blame_of_one_that_floods() -> None:
    registry = CollectorRegistry()
    agents, web, nightly = callers = [Caller(name, label=name) for name in ("agents", "web", "nightly")]
    metrics = MetricsObserver(registry, VirtualClock(), models=[_MODEL], max_callers=1)
    metrics.know_callers(callers)
    observer = Observers(metrics.handlers)

    observer.event(Admitted(_POOL, agents, Cost(1), 0))
    for _ in range(3):
        observer.event(RefusedCall(_POOL, nightly, Cause.DEADLINE))
    for caller in (web, web, nightly):
        observer.event(Admitted(_POOL, caller, Cost(1), 5 * NS_PER_SECOND))

    labels = {"pool": _POOL, "class": "standard"}
    assert registry.get_sample_value("tidegate_excess_wait_seconds_count", labels) == 1
    assert registry.get_sample_value("tidegate_caller_wait_seconds_count", {"caller": OTHER, "end": "admitted"}) == 3


_Series = dict[tuple[tuple[str, str], ...], float]


def _by_caller(registry: CollectorRegistry) -> dict[str, _Series]:
    """The series with the label `caller` that count events, by name of the metric."""
    found: dict[str, _Series] = defaultdict(dict)
    for family in registry.collect():
        if family.name in _BY_CALLER:
            for sample in family.samples:
                if sample.name.endswith(("_total", "_count")):
                    found[family.name][tuple(sample.labels.items())] = sample.value
    return found


_numbers = st.integers(0, 9)
_steps = st.lists(st.tuples(_numbers, st.sampled_from(["use", "use", "refuse", "know"])), max_size=60)


@given(most=st.integers(1, 6), known=_numbers, steps=_steps)
def test_every_use_counts_once_no_series_falls_and_labels_are_bounded(
    most: int, known: int, steps: list[tuple[int, str]]
) -> None:
    registry = CollectorRegistry()
    names = [f"caller-{number}" for number in range(10)]
    metrics = MetricsObserver(registry, VirtualClock(), models=[_MODEL], callers=names[:known], max_callers=most)
    observer = Observers(metrics.handlers)
    expected: Counter[str] = Counter()
    before = _by_caller(registry)

    for number, step in steps:
        caller = Caller(names[number], label=names[number])
        if step == "know":
            metrics.know_callers([caller])
        elif step == "refuse":
            observer.event(RefusedCall(_POOL, caller, Cause.DEADLINE))
            expected["tidegate_refused"] += 1
        else:
            observer.event(Admitted(_POOL, caller, Cost(1), 1))
            observer.event(AttemptFinished(_POOL, _MODEL, caller, "200", 1, 1, Usage(1)))
            observer.event(RequestFinished("/v1/messages", _POOL, caller, "ok", 1, 1))
            expected.update(["tidegate_requests", "tidegate_tokens", "tidegate_caller_wait_seconds"])

        after = _by_caller(registry)
        for name, series in after.items():
            assert sum(series.values()) == expected[name]
            assert len({dict(labels)["caller"] for labels in series} - {"default", OTHER}) <= most
        assert all(after[name][labels] >= value for name in before for labels, value in before[name].items())
        before = after
