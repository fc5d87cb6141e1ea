"""The span attributes of an answer and of a failure, as the conventions name them."""

import pytest

from support.recording_observer import RecordedScope, RecordingObserver
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.observer import ScopeKind
from tidegate.core.ports.span_attributes import described_call, set_error, set_usage


@pytest.fixture
def scope() -> RecordedScope:
    return RecordedScope(RecordingObserver(), ScopeKind.CHAT, {})


def test_a_call_is_described_by_what_its_client_asked_and_says_of_its_trace() -> None:
    request = {"method": "POST", "path": "/v1/messages", "scheme": "https"}
    trace = {"traceparent": "00-1-2-01", "tracestate": "vendor=1"}
    fields = {name.encode(): value.encode() for name, value in trace.items()}
    said = {
        "http.request.method": "POST",
        "http.route": "/v1/{rest}",
        "url.path": "/v1/messages",
        "url.scheme": "https",
        "tidegate.request_id": "req_1",
    }
    assert described_call(request, "/v1/{rest}", {b"x-api-key": b"secret", **fields}, "req_1") == said | trace
    del request["scheme"]
    assert described_call(request, "/v1/{rest}", {}, "req_1") == said | {"url.scheme": "http"}


def test_all_input_counts_as_input_and_the_cache_is_told_apart(scope: RecordedScope) -> None:
    set_usage(scope, Usage(input_tokens=1_000, output_tokens=7, cache_read_tokens=200, cache_creation_tokens=30))
    assert scope.attributes == {
        "gen_ai.usage.input_tokens": 1_230,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.cache_write.input_tokens": 30,
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UpstreamError("busy", status=529), {"http.response.status_code": 529, "error.type": "529"}),
        (
            UpstreamError("busy", status=500, headers=((b"request-id", b"req_7"),)),
            {"http.response.status_code": 500, "error.type": "500", "tidegate.upstream_request_id": "req_7"},
        ),
        (UpstreamUnreachable("reset", may_have_been_accepted=False), {"error.type": "connection"}),
        (UpstreamUnreachable("no head", may_have_been_accepted=True), {"error.type": "timeout"}),
        (UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True), {"error.type": "deadline"}),
        (Refusal(Cause.QUEUE_FULL, "full"), {"error.type": "queue_full"}),
        (ZeroDivisionError("secret"), {"error.type": "ZeroDivisionError"}),
        (
            RetriesExhausted(5, 3.0, UpstreamError("busy", status=429)),
            {"tidegate.attempts": 5, "http.response.status_code": 429, "error.type": "429"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_of_a_closed_kind(scope: RecordedScope, error: BaseException, said: dict[str, object]) -> None:
    set_error(scope, error)
    assert scope.attributes == said
