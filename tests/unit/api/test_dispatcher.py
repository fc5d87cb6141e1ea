"""Routing, the headers of every answer, access rules on every route, and the documents for operators."""

import asyncio
import gzip
from typing import Any, cast

import pytest

from support.api_services import FakeExposition, FakeGenerator, app_of, make_services
from support.asgi_client import Answer, call
from support.recording_observer import RecordingObserver
from support.snapshots import shared_status
from support.virtual_time import VirtualClock
from tidegate.api.app import create_api, create_app
from tidegate.api.routes.health import metrics_app
from tidegate.api.services import Services
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.ports.observer import ScopeKind
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings, Settings

EVERYWHERE = ["/v1/messages", "/api/workflows/generate", "/api/system/rate-limiting/status", "/metrics", "/docs", "/"]


def ask(services: Services, method: str, path: str, **arguments: Any) -> Answer:
    return asyncio.run(call(app_of(services), method, path, **arguments))


def test_v1_goes_to_the_gateway_and_the_rest_to_the_api() -> None:
    services = make_services()
    assert ask(services, "POST", "/v1/messages", body={}).body == b"from the gateway"
    assert ask(services, "GET", "/v1/anything/else").body == b"from the gateway"
    assert ask(services, "GET", "/healthz").json()["status"] == "alive"
    assert ask(services, "GET", "/v1").status == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_use_head(path: str) -> None:
    assert ask(make_services(), "HEAD", path).status == 200


@pytest.mark.parametrize("path", [*EVERYWHERE[1:], "/healthz", "/nowhere"])  # the gateway marks its own
def test_every_answer_has_a_request_id_and_says_when_the_upstream_is_simulated(path: str) -> None:
    answer = ask(make_services(upstream_kind="simulator"), "GET", path)
    assert answer.headers["x-tidegate-request-id"] == "req_1"
    assert answer.headers["x-tidegate-upstream"] == "simulator"


def test_api_answers_say_what_was_waited_and_tried() -> None:
    headers = ask(make_services(), "GET", "/api/system/ai-client/status").headers
    assert (headers["x-tidegate-queue-ms"], headers["x-tidegate-attempts"]) == ("0", "0")


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_foreign_hosts_and_origins_are_forbidden_everywhere(path: str, headers: dict[str, str]) -> None:
    answer = ask(make_services(), "GET", path, headers=headers)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (403, "forbidden")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-tidegate-request-id"] == "req_1"
    body = answer.json()
    if path.startswith("/v1/"):
        assert (answer.headers["x-tidegate-queue-ms"], answer.headers["x-tidegate-attempts"]) == ("0", "0")
        assert (body["type"], body["error"]["type"], body["request_id"]) == ("error", "permission_error", "req_1")
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["cause"], body["request_id"]) == ("forbidden", "req_1")


@pytest.mark.parametrize("path", ["/v1/messages", "/api/workflows/generate", "/api/system/rate-limiting/configure"])
def test_a_body_that_is_not_json_is_a_415_everywhere(path: str) -> None:
    answer = ask(make_services(), "POST", path, body=b"prompt=x", headers={"content-type": "text/plain"})
    assert answer.status == 415
    assert "application/json" in answer.body.decode()


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("POST", "/model/anthropic.claude-opus-4-8/invoke", "Amazon Bedrock"),
        ("POST", "/model/anthropic.claude-opus-4-8/invoke-with-response-stream", "Amazon Bedrock"),
        ("POST", "/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-8:rawPredict", "Vertex AI"),
        ("POST", "/messages", "no such path"),
        ("GET", "/nowhere", "no such path"),
        ("GET", "/v1", "no such path"),
    ],
)
def test_the_error_of_an_unknown_path_lists_the_known_paths(method: str, path: str, says: str) -> None:
    answer = ask(make_services(), method, path, body={} if method == "POST" else None)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert answer.headers["x-should-retry"] == "false"
    body = answer.json()
    assert (body["type"], body["error"]["type"], body["request_id"]) == ("error", "not_found_error", "req_1")
    assert says in body["error"]["message"]
    assert "/v1/messages" in body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nowhere", 404), ("DELETE", "/healthz", 405)],
)
def test_unknown_paths_and_methods_are_problems(method: str, path: str, status: int) -> None:
    answer = ask(make_services(), method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["title"] in {"Not Found", "Method Not Allowed"}
    assert status != 405 or answer.headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/docs/favicon.png", "/openapi.json"])
def test_pages_need_a_key_beyond_loopback(path: str) -> None:
    caller = CallerSettings(name="web", key_sha256=key_hash("web-key"))
    services = make_services(Settings(host="0.0.0.0", callers=(caller,)))  # noqa: S104 - not bound
    answer = ask(services, "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert ask(services, "GET", path, headers={"x-api-key": "web-key"}).status == 200
    assert ask(make_services(Settings(callers=(caller,))), "GET", path).status == 200


def test_metrics_on_their_own_address_need_a_key_beyond_loopback() -> None:
    caller = CallerSettings(name="web", key_sha256=key_hash("web-key"))
    settings = Settings(metrics_host="10.0.0.1", metrics_port=0, callers=(caller,))
    app = metrics_app(FakeExposition(), lambda: AccessRules.for_metrics(settings))
    assert asyncio.run(call(app, "GET", "/metrics")).status == 401
    answer = asyncio.run(call(app, "GET", "/metrics", headers={"authorization": "Bearer web-key"}))
    assert (answer.status, answer.body) == (200, b"# for \n")


def test_a_head_request_is_answered() -> None:
    """Claude Code asks for `HEAD /` before its first call."""
    answer = ask(make_services(), "HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")


def test_refusals_before_a_pool_is_known_are_reported() -> None:
    observer = RecordingObserver()
    services = make_services(Settings(admin_key="hunter2"), observer=observer)
    ask(services, "POST", "/v1/messages", body={}, headers={"origin": "http://evil.example"})
    ask(services, "GET", "/docs", headers={"host": "evil.example"})
    ask(services, "POST", "/api/system/rate-limiting/configure", body={})
    assert [event.cause for event in observer.of(RefusedCall)] == [
        Cause.FORBIDDEN,
        Cause.FORBIDDEN,
        Cause.UNAUTHENTICATED,
    ]
    finished = observer.of(RequestFinished)
    assert [(event.route, event.outcome) for event in finished] == [
        ("/v1/messages", "refused"),
        ("/api/system/rate-limiting/configure", "refused"),
    ]


def test_readiness_says_why_not() -> None:
    services = make_services()
    assert ask(services, "GET", "/readyz").json() == {"ready": True, "reasons": []}
    services.draining = True
    answer = ask(services, "GET", "/readyz")
    assert (answer.status, answer.json()["reasons"]) == (503, ["draining: the service is shutting down"])


def test_an_upstream_that_cannot_be_reached_is_a_reason_and_ends_a_generation() -> None:
    reachability = Reachability("http://no.such.host", VirtualClock())
    services = make_services(reachability=reachability)
    assert ask(services, "GET", "/readyz").status == 200
    reachability.failed("no such host", took_ns=10**10)
    answer = ask(services, "GET", "/readyz")
    reason = "the upstream http://no.such.host cannot be reached: no such host"
    assert (answer.status, answer.json()["reasons"]) == (503, [reason])
    generated = ask(services, "POST", "/api/workflows/generate", body={"prompt": "wait"})
    assert (generated.status, generated.json()["cause"]) == (529, "upstream_outage")
    assert "no such host" in generated.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/messages", "/api/workflows/generate"])
def test_calls_that_outlast_the_grace_period_are_told_to_come_back(path: str) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
        await asyncio.sleep(3600)

    observer = RecordingObserver()
    services = make_services(gateway=slow, observer=observer)
    cast("FakeGenerator", services.ai_client).seconds = 3600

    async def run(*, draining: bool) -> Answer:
        answer = Answer()
        task = asyncio.create_task(
            call(app_of(services), "POST", path, body={"prompt": "Ship an order"}, answer=answer)
        )
        await asyncio.sleep(0.01)
        services.draining = draining
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return answer

    answer = asyncio.run(run(draining=True))
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (503, "draining")
    assert answer.headers["x-should-retry"] == "true"
    assert [(event.outcome, event.cause, event.status) for event in observer.of(RequestFinished)] == (
        [("refused", Cause.DRAINING, 503)] if path.startswith("/api/") else []  # the gateway reports by itself
    )
    assert asyncio.run(run(draining=False)).status == 0


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/invented", "/v1/other"),
        ("/api/workflows/generate", "/api/workflows/generate"),
        ("/api/invented", "other"),
    ],
)
@pytest.mark.parametrize(
    ("headers", "status", "cause"),
    [({"host": "evil.example"}, 403, Cause.FORBIDDEN), ({"content-type": "text/plain"}, 415, None)],
)
def test_a_call_that_is_not_let_in_has_a_span_with_status_and_cause(
    path: str, route: str, headers: dict[str, str], status: int, cause: Cause | None
) -> None:
    observer = RecordingObserver()
    answer = ask(make_services(observer=observer), "POST", path, body={}, headers={**headers, "traceparent": "theirs"})
    (span,) = observer.scopes_of(ScopeKind.REQUEST)
    assert (answer.status, span.attributes["http.response.status_code"]) == (status, status)
    assert (span.attributes["http.route"], span.attributes["url.path"]) == (route, path)
    assert (span.attributes.get("tidegate.cause"), span.attributes["traceparent"]) == (cause, "theirs")
    assert span.attributes["tidegate.outcome"] == ("client_error" if cause is None else "refused")
    assert (span.attributes["tidegate.request_id"], span.open) == ("req_1", False)


def test_probes_and_scrapes_that_are_not_let_in_have_none() -> None:
    observer = RecordingObserver()
    assert ask(make_services(observer=observer), "GET", "/metrics", headers={"host": "evil.example"}).status == 403
    assert not observer.scopes


def test_readiness_fails_with_the_store() -> None:
    services = make_services()

    async def unreachable() -> None:
        raise Refusal(Cause.STORE_UNAVAILABLE, "the store does not answer")

    services.store.snapshot = unreachable  # type: ignore[method-assign, assignment]
    assert ask(services, "GET", "/readyz").json()["reasons"] == ["the store does not answer"]


def test_readiness_tells_a_degraded_replica_from_one_that_refuses_calls() -> None:
    services = make_services(shared_status=shared_status)
    assert ask(services, "GET", "/readyz").json() == {"ready": True, "reasons": []}
    services.shared_status = lambda: shared_status(is_degraded=True)
    answer = ask(services, "GET", "/readyz")
    assert (answer.status, answer.json()["ready"]) == (200, True)
    assert "its share of the limits" in answer.json()["warnings"][0]
    services.shared_status = lambda: shared_status(is_refusing=True)
    answer = ask(services, "GET", "/readyz")
    assert answer.status == 503
    assert answer.json() == {"ready": False, "reasons": ["store_unavailable: the shared store does not answer"]}


def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    answer = ask(make_services(), "GET", "/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert answer.body == b"# for application/openmetrics-text\n"


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.00", False), ("br", False)],
)
def test_metrics_are_compressed_if_that_is_asked_for(accepted: str, *, is_compressed: bool) -> None:
    headers = {"accept": "application/openmetrics-text", "accept-encoding": accepted}
    answer = ask(make_services(), "GET", "/metrics", headers=headers)
    assert (answer.headers.get("content-encoding") == "gzip") is is_compressed
    assert answer.headers["vary"] == "accept, accept-encoding"
    body = gzip.decompress(answer.body) if is_compressed else answer.body
    assert body == b"# for application/openmetrics-text\n"


def test_metrics_with_an_address_of_their_own_are_not_here() -> None:
    assert ask(make_services(exposition=None), "GET", "/metrics").status == 404


def test_lifespan_goes_to_the_api() -> None:
    sent = []

    async def run() -> None:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await create_app(make_services())({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    asyncio.run(run())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_openapi_has_an_example_for_every_api_route() -> None:
    paths = create_api(make_services()).openapi()["paths"]
    operations = {
        (path, method): operation
        for path, methods in paths.items()
        if path.startswith("/api/")
        for method, operation in methods.items()
    }
    assert len(operations) == 18
    schemas = create_api(make_services()).openapi()["components"]["schemas"]
    for operation in operations.values():
        responses = operation["responses"]
        content = responses["201" if "201" in responses else "200"]["content"]["application/json"]
        referenced = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        assert "example" in content or "example" in schemas[referenced]
        assert "example" in responses["4XX"]["content"]["application/problem+json"]
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["examples"]
        assert operation["summary"]


class SlowUpload:
    """A client that has sent the beginning of a body and keeps the rest to itself."""

    def __init__(self, path: str, sent: bytes, headers: dict[str, str]) -> None:
        self.answer = Answer()
        self._path = path
        self._parts = [sent]
        self._headers = {"host": "localhost", "content-type": "application/json", "content-length": "999999", **headers}

    async def receive(self) -> Any:
        if self._parts:
            return {"type": "http.request", "body": self._parts.pop(), "more_body": True}
        return await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}

    async def go(self, app: Any) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        scope = {"type": "http", "method": "POST", "path": self._path, "query_string": b"", "headers": headers}
        await app({**scope, "client": ("127.0.0.1", 5)}, self.receive, self.send)

    @property
    def is_unread(self) -> bool:
        return bool(self._parts)


@pytest.mark.parametrize("path", ["/api/workflows/generate", "/api/system/rate-limiting/configure"])
def test_under_api_no_body_is_read_before_its_caller_is_known(path: str) -> None:
    caller = CallerSettings(name="web", key_sha256=key_hash("web-key"))
    app = create_app(make_services(Settings(callers=(caller,), admin_key="admin-key")))
    upload = SlowUpload(path, b"{", {})
    asyncio.run(asyncio.wait_for(upload.go(app), 5))
    assert (upload.answer.status, upload.is_unread) == (401, True)


def test_the_bodies_under_api_are_bounded_together() -> None:
    services = make_services(Settings(max_body_bytes=100))

    async def run() -> tuple[int, Answer, Answer]:
        app = app_of(services)
        uploads = [SlowUpload("/api/workflows/generate", b"x" * 100, {}) for _ in range(64)]
        tasks = [asyncio.create_task(upload.go(app)) for upload in uploads]
        await asyncio.sleep(0.05)
        refused = await call(app, "POST", "/api/workflows/generate", body={"prompt": "x"})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        let_in = await call(app, "POST", "/api/workflows/generate", body={"prompt": "x"})
        return sum(not upload.is_unread for upload in uploads), refused, let_in

    held, refused, let_in = asyncio.run(run())
    assert (held, refused.status, let_in.status) == (64, 429, 200)
    assert refused.headers["x-tidegate-cause"] == "queue_full"
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("1", "true")
