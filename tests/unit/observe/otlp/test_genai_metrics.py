"""The metrics of the conventions for generative AI."""

import msgspec
import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.observe.observers import Observers
from tidegate.observe.otlp.genai_metrics import GenAiMetrics
from tidegate.observe.otlp.metric_points import metric_of

UPSTREAM = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "known",
    "server.address": "api.example",
    "server.port": "443",
}
CALL = RequestFinished(
    "/v1/messages",
    "sonnet-5-5",
    DEFAULT_CALLER,
    "ok",
    duration_ns=5_000_000_000,
    queue_wait_ns=2_000_000_000,
    model="claude-sonnet-5-5",
    status=200,
    attempts=1,
    usage=Usage(10, 300, 40, 50),
)


def samples_after(*events: RequestFinished) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Sums and counts by name of the sample, with their attributes."""
    metrics = GenAiMetrics("api.example", 443, lambda model: "known" if model.startswith("claude") else "other")
    observer = Observers(metrics.handlers)
    for event in events:
        observer.event(event)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_call_has_a_duration_without_its_wait_for_quota() -> None:
    found = samples_after(CALL)
    assert found["gen_ai.client.operation.duration_sum"] == [({**UPSTREAM, "error.type": ""}, 3.0)]


def test_input_counts_what_the_cache_held() -> None:
    found = samples_after(CALL)
    assert found["gen_ai.client.token.usage_sum"] == [
        ({**UPSTREAM, "gen_ai.token.type": "input"}, 100.0),
        ({**UPSTREAM, "gen_ai.token.type": "output"}, 300.0),
    ]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"outcome": "upstream_error", "status": 529}, "529"),
        ({"outcome": "refused", "status": 429, "cause": Cause.DEADLINE}, "deadline"),
        ({"outcome": "abandoned", "status": 200}, "abandoned"),
        ({"outcome": "deadline", "status": 504}, "deadline"),
        ({"outcome": "client_error", "status": 400}, "400"),
        ({"outcome": "upstream_error", "status": 200}, "broken"),
        ({"outcome": "upstream_error", "status": 0}, "_OTHER"),
    ],
)
def test_a_call_that_failed_says_why(changes: dict[str, object], error: str) -> None:
    found = samples_after(msgspec.structs.replace(CALL, usage=None, **changes))
    ((labels, _),) = found["gen_ai.client.operation.duration_sum"]
    assert labels["error.type"] == error
    assert "gen_ai.client.token.usage_sum" not in found


@pytest.mark.parametrize("changes", [{"attempts": 0}, {"route": "/v1/models"}])
def test_calls_that_asked_no_model_do_not_count(changes: dict[str, object]) -> None:
    assert samples_after(msgspec.structs.replace(CALL, **changes)) == {}


def test_the_attributes_of_exported_points_have_the_types_of_the_conventions() -> None:
    metrics = GenAiMetrics("api.example", 443, lambda _model: "known")
    Observers(metrics.handlers).event(CALL)
    exported = [metric_of(family, 0, 1) for family in metrics.registry.collect()]
    points = [point.attributes for metric in exported if metric is not None for point in metric.data.data_points]
    common = {**UPSTREAM, "server.port": 443}
    assert points == [*({**common, "gen_ai.token.type": kind} for kind in ("input", "output")), common]


def test_the_units_are_those_of_the_conventions() -> None:
    metrics = GenAiMetrics("api.example", 443, str)
    Observers(metrics.handlers).event(CALL)
    exported = [metric_of(family, 0, 1) for family in metrics.registry.collect()]
    assert {metric.name: metric.unit for metric in exported if metric is not None} == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.token.usage": "{token}",
    }
