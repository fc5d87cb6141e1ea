"""Whether a trace is sampled is known before it begins."""

import itertools
from collections import Counter
from typing import Final

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling

from support.virtual_time import VirtualClock
from tidegate.core.ports.observer import ScopeKind
from tidegate.observe.tracing.span_observer import Tracing
from tidegate.observe.tracing.span_provider import PresamplingProvider

_CALLS: Final = 400


def provider(monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str = "") -> PresamplingProvider:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    return PresamplingProvider(Resource({}))


@pytest.mark.parametrize(
    ("sampler", "argument", "least", "most"),
    [
        ("parentbased_traceidratio", "0.5", 1, _CALLS - 1),
        ("traceidratio", "0.5", 1, _CALLS - 1),
        ("parentbased_traceidratio", "0", 0, 0),
        ("traceidratio", "1", _CALLS, _CALLS),
        ("always_on", "", _CALLS, _CALLS),
        ("parentbased_always_off", "", 0, 0),
    ],
)
def test_the_early_decision_equals_that_of_the_sampler(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, least: int, most: int
) -> None:
    provided = provider(monkeypatch, sampler, argument)
    tracer = provided.get_tracer("test")
    said = sum(provided.samples_next() for _ in range(_CALLS))
    assert least <= said <= most
    while said:
        if provided.samples_next():
            assert tracer.start_span("call", context=Context()).is_recording()
            said -= 1


def test_a_tenth_is_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = provider(monkeypatch, "parentbased_traceidratio", "0.1")
    sampled = sum(provided.samples_next() for _ in range(20_000))
    assert 1_700 < sampled < 2_300  # seven standard deviations


def test_sampling_decisions_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = provider(monkeypatch, "parentbased_traceidratio", "0.5")
    said = [provided.samples_next() for _ in range(20_000)]
    pairs = Counter(itertools.pairwise(said))
    assert len(pairs) == 4
    assert all(4_400 < seen < 5_600 for seen in pairs.values())  # seven standard deviations


def test_ids_of_sampled_traces_are_drawn_from_all_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = provider(monkeypatch, "traceidratio", "0.25")
    tracer = provided.get_tracer("test")
    ids: list[int] = []
    while len(ids) < 200:
        if provided.samples_next():
            ids.append(tracer.start_span("call", context=Context()).get_span_context().trace_id)
    lower_halves = [trace_id & (2**64 - 1) for trace_id in ids]
    assert min(lower_halves) < 2**59  # 200 of them miss an eighth of 2**62 once in 4e11 runs
    assert 2**62 - 2**59 < max(lower_halves) < 2**62
    assert len({trace_id >> 64 for trace_id in ids}) == 200


def test_traces_that_nobody_asked_about_have_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = provider(monkeypatch, "always_on")
    tracer = provided.get_tracer("test")
    assert provided.samples_next()
    ids = {tracer.start_span("call", context=Context()).get_span_context().trace_id for _ in range(3)}
    assert len(ids) == 3


class OfSomebodyElse(sampling.StaticSampler):
    """A sampler that is not the SDK's own."""


def test_a_sampler_of_somebody_elses_is_asked_when_the_span_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_get_from_env_or_default", lambda: OfSomebodyElse(sampling.Decision.DROP))
    provided = provider(monkeypatch, "any")
    assert provided.samples_next()
    assert not provided.get_tracer("test").start_span("call", context=Context()).is_recording()


def test_calls_that_say_what_trace_they_are_part_of_are_always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = provider(monkeypatch, "parentbased_always_off")
    tracing = Tracing(
        provided,
        VirtualClock(),
        upstream_host="a",
        upstream_port=1,
        upstream_url="https://a:1",
        send_upstream=False,
        samples_next=provided.samples_next,
    )
    sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert not tracing.traces_call({})
    assert tracing.traces_call({b"traceparent": sampled.encode()})
    with tracing.scope(ScopeKind.REQUEST, {"traceparent": sampled}) as request:
        assert request.traced
