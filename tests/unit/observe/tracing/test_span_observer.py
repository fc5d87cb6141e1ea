"""Properties of spans that a snapshot of a trace does not show."""

import asyncio
from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import INVALID_SPAN, get_current_span

from support.project import ROOT
from support.traces import Traces
from support.virtual_time import VirtualClock
from tidegate.core.domain.errors import RetriesExhausted, UpstreamError
from tidegate.core.ports.observer import NULL_SCOPE, ScopeKind
from tidegate.core.ports.span_attributes import METHOD, MODEL, ROUTE, SERVER_ADDRESS, STATUS, set_error
from tidegate.observe.tracing.span_observer import Tracing, current_exemplar

THEIRS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", "tracestate": "vendor=1"}
REQUEST: Mapping[str, str | float] = {METHOD: "POST", ROUTE: "/v1/messages"}


@pytest.fixture
def traces() -> Traces:
    return Traces(VirtualClock(), send_upstream=True)


def unsampled() -> Tracing:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    return Tracing(
        provider, VirtualClock(), upstream_host="a", upstream_port=1, upstream_url="https://a:1", send_upstream=True
    )


def test_no_other_module_spells_a_name_of_the_conventions_for_generative_ai() -> None:
    spelt = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "service").rglob("*.py")
        if '"gen_ai.' in path.read_text(encoding="utf-8")
    ]
    assert spelt == ["service/tidegate/core/ports/span_attributes.py"]


def test_trace_headers_continue_the_clients_trace(traces: Traces) -> None:
    with (
        traces.tracing.scope(ScopeKind.REQUEST, {**REQUEST, **THEIRS}),
        traces.tracing.scope(ScopeKind.ATTEMPT, {}) as attempt,
    ):
        sent = attempt.headers()
    assert sent["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-0000000000000002-03"
    assert sent["tracestate"] == "vendor=1"


def test_trace_headers_stay_here_unless_they_are_meant_to_pass() -> None:
    with Traces(VirtualClock()).tracing.scope(ScopeKind.ATTEMPT, {}) as attempt:
        assert attempt.headers() == {}


@pytest.mark.parametrize("broken", ["", "00-zz-1-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"])
def test_a_broken_context_begins_a_trace_of_its_own(traces: Traces, broken: str) -> None:
    with traces.tracing.scope(ScopeKind.REQUEST, {**REQUEST, "traceparent": broken}):
        pass
    (span,) = traces.spans()
    assert span.parent is None


def test_an_exemplar_is_the_ids_of_a_sampled_span(traces: Traces) -> None:
    assert current_exemplar() is None
    with traces.tracing.scope(ScopeKind.REQUEST, REQUEST) as request:
        ids = {"trace_id": f"{1:032x}", "span_id": f"{1:016x}"}
        assert request.exemplar() == current_exemplar() == traces.tracing.exemplar() == ids
    assert get_current_span() is INVALID_SPAN
    assert traces.tracing.recording == 0
    assert traces.tracing.exemplar() is None


def test_a_trace_that_is_not_sampled_has_no_exemplar_but_is_continued() -> None:
    tracing = unsampled()
    with tracing.scope(ScopeKind.REQUEST, REQUEST) as request:
        request.set(STATUS, 200)
        assert request.exemplar() is None
        flags = request.headers()["traceparent"].rpartition("-")[2]
        assert int(flags, 16) & 1 == 0


def test_a_client_cannot_invent_names_or_fill_the_disk(traces: Traces) -> None:
    invented = {METHOD: "BREW", ROUTE: "/v1/other", MODEL: "m" * 10_000}
    with traces.tracing.scope(ScopeKind.REQUEST, invented), traces.tracing.scope(ScopeKind.CHAT, invented) as chat:
        chat.set(MODEL, "n" * 10_000)
    request, asked = traces.spans()
    assert (request.name, (request.attributes or {})[METHOD]) == ("HTTP /v1/other", "_OTHER")
    assert len(asked.name) == 261
    assert (asked.attributes or {})[MODEL] == "n" * 256


def test_an_error_is_recorded_by_its_type_only(traces: Traces) -> None:
    with pytest.raises(ZeroDivisionError), traces.tracing.scope(ScopeKind.GENERATE, {}):
        raise ZeroDivisionError("a secret prompt")
    (span,) = traces.spans()
    assert span.status.description == "_OTHER"
    assert not span.events
    assert "secret" not in span.to_json()


def test_a_call_that_is_cut_short_is_an_error_of_its_span(traces: Traces) -> None:
    with pytest.raises(asyncio.CancelledError), traces.tracing.scope(ScopeKind.REQUEST, REQUEST):
        raise asyncio.CancelledError
    assert traces.spans()[0].status.description == "abandoned"


def test_exhausted_retries_are_told_by_the_last_failure(traces: Traces) -> None:
    last = UpstreamError("told", status=529)
    with traces.tracing.scope(ScopeKind.GENERATE, {}), traces.tracing.scope(ScopeKind.CHAT, {MODEL: "m"}) as chat:
        set_error(chat, RetriesExhausted(3, 1.0, last))
    span = traces.span("chat m")
    assert (span.attributes or {})["tidegate.attempts"] == 3
    assert (span.attributes or {})[SERVER_ADDRESS] == "api.example"
    assert span.status.description == "529"


def test_a_scope_that_is_left_without_being_entered_does_no_harm(traces: Traces) -> None:
    traces.tracing.scope(ScopeKind.CHAT, {MODEL: "m"}).__exit__(None, None, None)
    assert not traces.spans()


def test_inside_of_a_call_that_is_not_sampled_only_what_passes_its_context_on_is_a_span() -> None:
    tracing = unsampled()
    with tracing.scope(ScopeKind.REQUEST, REQUEST):
        assert tracing.scope(ScopeKind.CHAT, {}) is NULL_SCOPE
        with tracing.scope(ScopeKind.ATTEMPT, {}) as attempt:
            flags = int(attempt.headers()["traceparent"].rpartition("-")[2], 16)
            assert flags & 1 == 0
    assert tracing.scope(ScopeKind.CHAT, {}) is NULL_SCOPE, "what is part of a call begins no trace of its own"
