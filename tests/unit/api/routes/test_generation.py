"""`POST /api/workflows/generate`: bodies, answers, events, clients that leave."""

import asyncio
from typing import Any, cast

import pytest
import yaml

from support.api_services import DOCUMENT, FakeGenerator, app_of, make_services
from support.asgi_client import Answer, call
from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.events import ProgressFeed
from tidegate.api.services import Services
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import GenerationError, Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.generation.request import AttemptStarted, Progress, Tally, TextReceived, Validated, WaitPredicted
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings, Settings

PATH = "/api/workflows/generate"
PROMPT = {"prompt": "Ship an order"}


@pytest.fixture
def services() -> Services:
    return make_services()


def generator(services: Services) -> FakeGenerator:
    return cast("FakeGenerator", services.ai_client)


def post(services: Services, body: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    clock = cast("VirtualClock", services.clock)
    return run_virtual(call(app_of(services), "POST", PATH, body=body, headers=named), clock)


def test_the_answer_has_the_document_and_how_it_came_about(services: Services) -> None:
    answer = post(services, PROMPT)
    assert answer.status == 200
    assert answer.json() == {
        "workflow": DOCUMENT,
        "valid": True,
        "model": "claude-sonnet-5-5",
        "usage": {"input_tokens": 100, "output_tokens": 50, "cache_read_tokens": 10, "cache_creation_tokens": 5},
        "attempts": 2,
        "repaired": False,
        "fallback_used": False,
        "fallback_reason": None,
        "fallback_message": None,
        "queue_seconds": 1.5,
        "notes": ["a note"],
        "request_id": "req_1",
    }
    assert answer.headers["x-tidegate-request-id"] == "req_1"
    assert "x-tidegate-upstream" not in answer.headers


def test_all_fields_of_a_request_reach_the_generator(services: Services) -> None:
    body = {
        **PROMPT,
        "fallback": True,
        "model": "claude-opus-5-5",
        "schema": {"type": "object"},
        "timeout_seconds": 9.5,
    }
    assert post(services, body, x_api_key="somebody").status == 200
    request = generator(services).requests[0]
    assert (request.prompt, request.fallback, request.model) == ("Ship an order", True, "claude-opus-5-5")
    assert (request.schema, request.timeout_seconds) == ({"type": "object"}, 9.5)
    assert request.caller.name.startswith("key-")


def test_defaults_are_no_fallback_and_the_configured_timeout(services: Services) -> None:
    post(services, PROMPT)
    request = generator(services).requests[0]
    assert (request.fallback, request.model, request.timeout_seconds) == (False, None, 600)


def test_yaml_as_text_in_the_answer_and_as_the_whole_answer(services: Services) -> None:
    assert yaml.safe_load(post(services, {**PROMPT, "format": "yaml"}).json()["workflow"]) == DOCUMENT
    bare = post(services, PROMPT, accept="application/yaml")
    assert bare.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(bare.body) == DOCUMENT


@pytest.mark.parametrize("error", [None, Refusal(Cause.DEADLINE, "late")])
def test_headers_say_what_was_waited_and_tried_also_when_it_failed(services: Services, error: Exception | None) -> None:
    fake = generator(services)
    wait, attempt = WaitPredicted("default", 9.0), AttemptStarted(1, "claude-sonnet-5-5")
    fake.progress, fake.seconds_between, fake.error = [wait, wait, attempt, attempt, wait], 0.5, error
    headers = post(services, PROMPT).headers
    assert (headers["x-tidegate-queue-ms"], headers["x-tidegate-attempts"]) == ("1500", "2")


BAD_BODIES: list[tuple[Any, str, Any, str]] = [
    ({}, "prompt", None, "required"),
    ({"prompt": ""}, "prompt", "", "not blank"),
    ({"prompt": " \n"}, "prompt", " \n", "not blank"),
    ({"prompt": "x" * 100_001}, "prompt", "x" * 200 + "… (100001 characters)", "at most 100,000"),
    ({"prompt": 5}, "prompt", 5, "string"),
    ({"prompt": "\ud800"}, "prompt", "\ud800", "surrogates"),
    ({**PROMPT, "format": "xml"}, "format", "xml", "'json' or 'yaml'"),
    ({**PROMPT, "fallback": "yes"}, "fallback", "yes", "boolean"),
    ({**PROMPT, "stream": 1}, "stream", 1, "boolean"),
    ({**PROMPT, "model": ""}, "model", "", "match"),
    ({**PROMPT, "model": "claude opus"}, "model", "claude opus", "match"),
    ({**PROMPT, "schema": {"\ud800": 1}}, "schema", "{'\\ud800': 1}", "surrogates"),
    ({**PROMPT, "schema": "object"}, "schema", "object", "dictionary"),
    ({**PROMPT, "timeout_seconds": 0}, "timeout_seconds", 0, "greater than 0"),
    ({**PROMPT, "timeout_seconds": float("nan")}, "timeout_seconds", "nan", "finite number"),
    ({**PROMPT, "timeout_seconds": float("inf")}, "timeout_seconds", "inf", "finite number"),
    ({**PROMPT, "timeout_seconds": 1e9}, "timeout_seconds", 1e9, "less than or equal to 3456000"),
    ({**PROMPT, "timeout_seconds": "9"}, "timeout_seconds", "9", "number"),
    ({**PROMPT, "temperature": 1}, "temperature", 1, "no field of this name"),
    ([], "body", "[]", "dictionary or object"),
]


@pytest.mark.parametrize(("body", "field", "given", "allowed"), BAD_BODIES)
def test_a_bad_body_is_a_problem_that_names_field_given_and_allowed(
    services: Services, body: Any, field: str, given: Any, allowed: str
) -> None:
    answer = post(services, body)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:tidegate:problem:validation"
    assert problem["request_id"] == answer.headers["x-tidegate-request-id"]
    assert problem["errors"][0]["field"] == field
    assert problem["errors"][0]["given"] == given
    assert allowed in problem["errors"][0]["allowed"]
    assert field in problem["detail"]
    assert generator(services).requests == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"prompt":', b"[" * 100_000])
def test_a_body_that_is_not_json_is_a_400(services: Services, body: bytes) -> None:
    answer = post(services, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "JSON" in answer.json()["detail"] or "parsing" in answer.json()["detail"]


def test_a_body_over_the_limit_is_a_413(services: Services) -> None:
    answer = post(services, {"prompt": "x" * 1_048_576})
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")


ERRORS = [
    (Refusal(Cause.QUEUE_FULL, "full", retry_after_seconds=2.1), 429, {"x-should-retry": "true", "retry-after": "3"}),
    (Refusal(Cause.DEADLINE, "late"), 429, {"x-tidegate-cause": "deadline"}),
    (
        Refusal(Cause.COST_EXCEEDS_CAPACITY, "big", dimension=Dimension.INPUT_TOKENS),
        400,
        {"x-should-retry": "false", "x-tidegate-cause": "cost_exceeds_capacity"},
    ),
    (UpstreamError("no access", status=403), 403, {"x-should-retry": "false"}),
    (UpstreamError("404 not_found_error: model: x", status=404), 502, {"x-should-retry": "false"}),
    (
        RetriesExhausted(1, 5.0, UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True)),
        504,
        {"x-should-retry": "true"},
    ),
    (
        UpstreamError("slow down", status=429, retry_after_seconds=7),
        429,
        {"retry-after": "7", "x-should-retry": "true"},
    ),
    (UpstreamError("broke", status=200, error_type="overloaded_error"), 502, {"x-should-retry": "true"}),
    (UpstreamUnreachable("refused", may_have_been_accepted=False), 502, {"x-should-retry": "true"}),
    (
        RetriesExhausted(5, 61.5, UpstreamError("busy", status=529, retry_after_seconds=0.2)),
        503,
        {"retry-after": "1"},
    ),
    (GenerationError("invalid", "no valid document", ["do: missing"]), 422, {}),
]


@pytest.mark.parametrize(("error", "status", "headers"), ERRORS)
def test_errors_become_problems_with_truthful_headers(
    services: Services, error: Exception, status: int, headers: dict[str, str]
) -> None:
    generator(services).error = error
    answer = post(services, PROMPT)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert headers.items() <= answer.headers.items()
    assert answer.json()["detail"] == str(error)
    assert answer.json()["status"] == status


@pytest.mark.parametrize("stream", [False, True])
def test_a_401_under_our_own_key_is_a_failure_of_the_service(*, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    headers = ((b"Request-Id", b"req_9"),)
    generator(services).error = UpstreamError("bad key", status=401, error_type="authentication_error", headers=headers)
    answer = post(services, {**PROMPT, "stream": stream})
    problem = answer.events()[-1][1] if stream else answer.json()
    assert (problem["status"], problem["cause"]) == (502, "upstream_credentials")
    if not stream:
        assert (answer.status, answer.headers["x-should-retry"]) == (502, "false")
    (refused,) = observer.of(RefusedCall)
    assert (refused.cause, refused.pool) == (Cause.UPSTREAM_CREDENTIALS, "sonnet-5-5")
    (finished,) = observer.of(RequestFinished)
    assert (finished.outcome, finished.upstream_request_id) == ("refused", "req_9")
    assert problem["upstream"]["request_id"] == "req_9"


def test_exhausted_retries_and_invalid_documents_say_what_happened(services: Services) -> None:
    generator(services).error = RetriesExhausted(
        5, 61.5, UpstreamError("busy", status=529, error_type="overloaded_error")
    )
    generator(services).taken = Tally(10, 0.0, Usage())  # two requests
    problem = post(services, PROMPT).json()
    assert (problem["attempts"], problem["elapsed_seconds"]) == (10, 61.5)
    assert problem["upstream"] == {
        "status": 529,
        "error_type": "overloaded_error",
        "error_code": None,
        "request_id": None,
    }
    generator(services).error = GenerationError("invalid", "no valid document", ["do: missing"])
    problem = post(services, PROMPT).json()
    assert (problem["reason"], problem["findings"]) == ("invalid", ["do: missing"])


def test_a_bad_key_of_the_service_is_not_the_clients_fault(services: Services) -> None:
    generator(services).error = UpstreamError("401 authentication_error: invalid x-api-key", status=401)
    answer = post(services, PROMPT)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (502, "upstream_credentials")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["detail"].startswith("the upstream refuses the key of this service")
    assert answer.json()["upstream"]["status"] == 401


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_generation_reports_its_usage(*, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).error = GenerationError("invalid", "no valid document", ["do: missing"])
    answer = post(services, {**PROMPT, "stream": stream})
    problem = answer.events()[-1][1] if stream else answer.json()
    usage = {"input_tokens": 100, "output_tokens": 50, "cache_read_tokens": 10, "cache_creation_tokens": 5}
    assert (problem["attempts"], problem["queue_seconds"], problem["usage"]) == (2, 1.5, usage)
    (finished,) = observer.of(RequestFinished)
    assert finished.usage == Usage(100, 50, 10, 5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_used_is_a_422_before_the_stream_starts(services: Services, *, stream: bool) -> None:
    answer = post(services, {**PROMPT, "stream": stream, "schema": {"type": "strin"}})
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == "schema.type"
    assert generator(services).requests == []


@pytest.mark.parametrize(
    ("accept", "is_yaml"),
    [
        ("application/yaml", True),
        ("application/yaml, */*", True),
        ("Application/YAML; q=0.9, text/html, application/json;q=0.8", True),
        ("application/yaml;q=0.5, */*;q=0.4", True),
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("application/json, application/yaml", False),
        ("application/json, application/yaml;q=0.1", False),
        ("application/yaml;q=0", False),
        ("application/*, application/yaml;q=0.2", False),
        ("application/yaml;q=high, application/json", False),
        ("text/html", False),
    ],
)
def test_yaml_is_what_an_accept_header_prefers(services: Services, accept: str, *, is_yaml: bool) -> None:
    kind = post(services, PROMPT, accept=accept).headers["content-type"]
    assert kind == ("application/yaml" if is_yaml else "application/json")


def test_an_unexpected_error_is_a_500_without_details(services: Services) -> None:
    generator(services).error = RuntimeError("secret detail")
    answer = Answer()
    with pytest.raises(RuntimeError):  # the server logs it
        run_virtual(
            call(app_of(services), "POST", PATH, body=PROMPT, answer=answer), cast("VirtualClock", services.clock)
        )
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert answer.headers["x-tidegate-request-id"] == "req_1"


def test_a_stream_reports_every_step_and_ends_with_the_document(services: Services) -> None:
    generator(services).progress = [
        WaitPredicted("default", 3.0),
        AttemptStarted(1, "claude-sonnet-5-5"),
        TextReceived("{"),
        TextReceived('{"a"'),
        Validated(valid=True, findings=()),
    ]
    answer = post(services, {**PROMPT, "stream": True})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = answer.events()
    assert events[:-1] == [
        ("queued", {"pool": "default", "predicted_seconds": 3.0}),
        ("attempt", {"attempt": 1, "model": "claude-sonnet-5-5"}),
        ("text", {"text": "{"}),
        ("text", {"text": '{"a"'}),
        ("validated", {"valid": True, "findings": []}),
    ]
    assert events[-1][0] == "done"
    assert events[-1][1]["workflow"] == DOCUMENT
    assert answer.complete


def test_a_client_that_is_slow_gets_the_latest_text_only() -> None:
    async def run() -> list[Progress | None]:
        feed = ProgressFeed()
        for text in ("a", "ab", "abc"):
            feed.push(TextReceived(text))
        feed.push(Validated(valid=True, findings=()))
        feed.close()
        return [await feed.next() for _ in range(3)]

    assert asyncio.run(run()) == [TextReceived("abc"), Validated(valid=True, findings=()), None]


def test_a_stream_that_fails_ends_with_the_problem(services: Services) -> None:
    generator(services).error = Refusal(Cause.QUEUE_FULL, "full")
    name, problem = post(services, {**PROMPT, "stream": True}).events()[-1]
    assert name == "error"
    assert (problem["status"], problem["cause"], problem["request_id"]) == (429, "queue_full", "req_1")


def test_an_unexpected_failure_in_a_stream_is_reported_and_logged(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    generator(services).error = RuntimeError("secret detail")
    answer = post(services, {**PROMPT, "stream": True})
    assert answer.events()[-1][1]["status"] == 500
    assert "secret" not in answer.body.decode()
    assert "secret detail" in caplog.text


def test_a_silent_stream_is_kept_alive(services: Services) -> None:
    generator(services).seconds = 40
    assert post(services, {**PROMPT, "stream": True}).body.count(b": still at work\n\n") == 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_work_stops_when_the_client_leaves(*, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).seconds = 3600

    async def leave_after_a_second() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(1, leaves.set)
        await call(app_of(services), "POST", PATH, body={**PROMPT, "stream": stream}, leaves=leaves)

    clock = cast("VirtualClock", services.clock)
    run_virtual(leave_after_a_second(), clock)
    assert generator(services).cancelled == 1
    assert clock.elapsed_s == 1
    finished = observer.events[-1]
    assert isinstance(finished, RequestFinished)
    assert finished.outcome == "abandoned"


def test_every_call_is_reported_with_route_pool_caller_and_outcome() -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).seconds = 2
    post(services, PROMPT)
    generator(services).error = Refusal(Cause.DEADLINE, "late")
    post(services, PROMPT)
    post(services, {})
    post(services, {**PROMPT, "stream": True})
    finished = observer.of(RequestFinished)
    assert [event.outcome for event in finished] == ["ok", "refused", "client_error", "refused"]
    assert (finished[0].route, finished[0].pool, finished[0].duration_ns) == (PATH, "sonnet-5-5", 2_000_000_000)


@pytest.mark.parametrize("stream", [False, True])
def test_the_report_has_what_a_log_line_tells(*, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).progress = (WaitPredicted("sonnet-5-5", 2.0), AttemptStarted(1, "claude-sonnet-5-5"))
    generator(services).seconds_between = 1.5
    post(services, {**PROMPT, "stream": stream})
    (finished,) = observer.of(RequestFinished)
    assert (finished.request_id, finished.model, finished.status) == ("req_1", "claude-sonnet-5-5", 200)
    assert (finished.queue_wait_ns, finished.attempts, finished.usage) == (1_500_000_000, 1, Usage(100, 50, 10, 5))
    assert finished.cause is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UpstreamError("slow down", status=429), "rate_limited"),
        (RetriesExhausted(5, 61.5, UpstreamError("slow down", status=429)), "rate_limited"),
        (RetriesExhausted(5, 61.5, UpstreamError("busy", status=529)), "upstream_error"),
        (UpstreamError("wrong", status=400), "client_error"),
        (UpstreamError("not with this key", status=403), "upstream_error"),
        (UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True, is_hasty=True), "deadline"),
    ],
)
def test_the_upstream_fails_by_its_own_errors_only(*, error: Exception, outcome: str, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).error = error
    post(services, {**PROMPT, "stream": stream})
    (finished,) = observer.of(RequestFinished)
    assert finished.outcome == outcome


@pytest.mark.parametrize("stream", [False, True])
def test_the_report_of_a_refusal_has_its_cause_and_status(*, stream: bool) -> None:
    observer = RecordingObserver()
    services = make_services(observer=observer)
    generator(services).error, generator(services).taken = Refusal(Cause.DEADLINE, "late"), Tally()
    post(services, {**PROMPT, "stream": stream})
    (finished,) = observer.of(RequestFinished)
    assert (finished.status, finished.cause, finished.usage) == (429, Cause.DEADLINE, None)


def test_a_call_can_lower_its_class(services: Services) -> None:
    assert post(services, PROMPT, x_api_key="somebody", x_tidegate_priority="batch").status == 200
    assert generator(services).requests[0].caller.priority is Priority.BATCH
    answer = post(services, PROMPT, x_tidegate_priority="urgent")
    assert answer.status == 422
    assert answer.json()["detail"] == "x-tidegate-priority: got 'urgent', allowed is interactive, standard, batch"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, "claude-sonnet-5-5"),
        ({"model": "claude-opus-5-5", "stream": True}, "claude-opus-5-5"),
        ({"model": "claude-fable-5", "fallback": True}, "claude-haiku-5-5"),
        ({"model": "claude-fable-5"}, None),
    ],
)
def test_a_caller_uses_no_models_but_its_own(body: dict[str, Any], refused: str | None) -> None:
    caller = CallerSettings(name="interns", key_sha256=key_hash("k"), models=("claude-fable-5",))
    observer = RecordingObserver()
    services = make_services(Settings(callers=(caller,)), observer=observer)
    answer = post(services, {**PROMPT, **body}, x_api_key="k")
    if refused is None:
        assert answer.status == 200
    else:
        assert (answer.status, answer.headers["x-tidegate-cause"]) == (403, "forbidden")
        assert answer.json()["detail"] == f"model: got {refused!r}, allowed for caller 'interns' is claude-fable-5"
        assert not generator(services).requests
        assert [event.cause for event in observer.of(RefusedCall)] == [Cause.FORBIDDEN]
