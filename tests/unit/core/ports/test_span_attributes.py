"""The span attributes of an answer and of a failure, as the conventions name them."""

import pytest

from support.recording_observer import RecordedScope, RecordingObserver
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import GenerationError, Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.observer import ScopeKind
from tidegate.core.ports.span_attributes import described_call, error_type_of, server_of, set_error, set_usage


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


def test_a_call_is_described_by_who_makes_it_and_where() -> None:
    request = {"method": "GET", "path": "/", "client": ("10.0.0.7", 50_000), "http_version": "1.1"}
    fields = {b"host": b"tidegate.example:8443", b"user-agent": b"team-a/1.0"}
    described = described_call(request, "/", fields, "req_1")
    assert (
        described.items()
        >= {
            "client.address": "10.0.0.7",
            "client.port": 50_000,
            "network.protocol.version": "1.1",
            "server.address": "tidegate.example",
            "server.port": 8_443,
            "user_agent.original": "team-a/1.0",
        }.items()
    )
    over_tls = described_call({**request, "scheme": "https"}, "/", {b"host": b"tidegate.example"}, "req_1")
    assert over_tls["server.port"] == 443


@pytest.mark.parametrize(
    ("host", "scheme", "place"),
    [
        ("", "https", None),
        ("tidegate", "http", ("tidegate", 80)),
        ("tidegate", "https", ("tidegate", 443)),
        ("[::1]:8080", "http", ("[::1]", 8080)),
        ("[::1]", "http", ("[::1]", 80)),
        ("tidegate:\u00b2", "http", ("tidegate:\u00b2", 80)),
        (f"tidegate:{'9' * 5_000}", "http", (f"tidegate:{'9' * 5_000}", 80)),
    ],
)
def test_the_called_address_and_port_are_those_of_the_host_field(
    host: str, scheme: str, place: tuple[str, int] | None
) -> None:
    assert tuple(server_of(host, scheme).values()) == (place or ())


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
        (ZeroDivisionError("secret"), {"error.type": "_OTHER"}),
        (GeneratorExit(), {"error.type": "abandoned"}),
        (GenerationError("invalid", "no document"), {"error.type": "invalid"}),
        (
            UpstreamError("slow", status=429, headers=((b"Retry-After", b"7"),)),
            {
                "http.response.status_code": 429,
                "error.type": "429",
                "http.response.header.retry-after": "7",
                "tidegate.limited_by": "unknown",
            },
        ),
        (
            RetriesExhausted(5, 3.0, UpstreamError("busy", status=429)),
            {
                "tidegate.attempts": 5,
                "http.response.status_code": 429,
                "error.type": "429",
                "tidegate.limited_by": "unknown",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_of_a_closed_kind(scope: RecordedScope, error: BaseException, said: dict[str, object]) -> None:
    set_error(scope, error)
    assert scope.attributes == said


def test_exhausted_retries_are_of_the_kind_of_the_last_failure() -> None:
    assert error_type_of(RetriesExhausted(5, 3.0, UpstreamError("busy", status=529))) == "529"
