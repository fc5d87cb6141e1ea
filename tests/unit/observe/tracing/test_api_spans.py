"""Server spans under `/api` that a snapshot of a trace does not show."""

import os

import pytest
from fastapi import FastAPI

from support.api_services import FakeGenerator, make_services
from support.asgi_client import Answer, call
from support.recording_observer import RecordingObserver
from support.traces import Traces
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.app import create_app
from tidegate.core.domain.events import RequestFinished
from tidegate.observe.tracing.api_spans import instrument_api

STATUS = "/api/system/ai-client/status"


class Traced:
    """The routes, traced, over a generator that does as it is told."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.traces = Traces(self.clock)
        self.observer = RecordingObserver()
        self.generator = FakeGenerator()
        self.app = create_app(
            make_services(
                clock=self.clock,
                observer=self.observer,
                tracer_provider=self.traces.provider,
                ai_client=self.generator,
            )
        )

    def ask(self, method: str, path: str, **arguments: object) -> Answer:
        return run_virtual(call(self.app, method, path, **arguments), self.clock)  # type: ignore[arg-type]

    def names(self) -> list[str]:
        return [span.name for span in self.traces.spans()]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/", "/v1/messages"])
def test_only_api_routes_have_spans_of_the_instrumentation(path: str) -> None:
    traced = Traced()
    traced.ask("GET", path)
    assert traced.names() == []


def test_each_call_has_one_whose_ids_are_reported() -> None:
    traced = Traced()
    assert traced.ask("GET", STATUS).status == 200
    (span,) = traced.traces.spans()
    context = span.get_span_context()
    assert context
    (finished,) = traced.observer.of(RequestFinished)
    assert finished.exemplar == {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert (span.attributes or {})["tidegate.request_id"] == "req_1"


def test_queries_and_texts_of_errors_stay_here() -> None:
    traced = Traced()
    traced.generator.error = ValueError("a secret prompt")
    with pytest.raises(ValueError, match="secret"):
        traced.ask("POST", "/api/workflows/generate?key=secret", body={"prompt": "Ship an order"})
    (span,) = traced.traces.spans()
    assert "secret" not in span.to_json()
    assert (span.status.status_code.name, (span.attributes or {})["error.type"]) == ("ERROR", "500")
    assert not span.events


def test_errors_of_all_spans_lose_their_texts() -> None:
    traces = Traces(VirtualClock())
    with (
        pytest.raises(ValueError, match="secret"),
        traces.provider.get_tracer("theirs").start_as_current_span("a span"),
    ):
        raise ValueError("a secret prompt")
    span = traces.span("a span")
    assert span.status.description == "ValueError"
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("query", ["a=\xff", "a=\xc3\xa9&b=%20+1", "\xff" * 100])
def test_a_query_that_is_not_text_does_no_harm(query: str) -> None:
    assert Traced().ask("GET", f"{STATUS}?{query}").status == 200


def test_the_stable_conventions_are_used_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = "OTEL_SEMCONV_STABILITY_OPT_IN"
    monkeypatch.setenv(variable, "http/dup")
    instrument_api(FastAPI(), Traces(VirtualClock()).provider)
    assert os.environ[variable] == "http/dup"
    monkeypatch.delenv(variable)
    instrument_api(FastAPI(), Traces(VirtualClock()).provider)
    assert os.environ[variable] == "http"
