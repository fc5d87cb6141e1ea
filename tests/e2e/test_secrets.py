"""Sends marked prompts, completions and keys through every path: none may appear in logs, metrics, traces or status."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from support.otlp import Received, environment, receiving, values
from support.service_process import ServiceProcess, running

MARK = "xqzvmark"
SERVICE_KEY = f"sk-ant-{MARK}-of-the-service"
CALLER_KEY = f"sk-ant-{MARK}-of-the-caller"
ADMIN_KEY = f"{MARK}-of-the-admin"
PROMPT = f"When an order {MARK} arrives, check stock"
QUESTION: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": PROMPT}],
}
MESSAGES, GENERATE = "/v1/messages", "/api/workflows/generate"


@dataclass
class Scene:
    """A service with full tracing and logging, and a simulator, both as processes."""

    service: ServiceProcess
    http: httpx2.Client
    control: httpx2.Client
    received: Received

    def fault(self, kind: str, **fields: Any) -> None:
        self.control.post("/simulator/faults", json={"kind": kind, "count": 1, **fields}).raise_for_status()

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            return self.http.post(path, content=content, headers={"content-type": "application/json", **named})
        except httpx2.TransportError:  # a broken response
            return httpx2.Response(0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    upstream, own = tmp_path_factory.mktemp("upstream"), tmp_path_factory.mktemp("service")
    with receiving("grpc") as received, running(upstream, "simulator") as simulator:
        variables = {
            **environment("grpc", received.url),
            "OTEL_TRACES_EXPORTER": "otlp,console",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TIDEGATE_UPSTREAM_URL": simulator.url,
            "TIDEGATE_LOG_LEVEL": "debug",
            "TIDEGATE_ADMIN_KEY": ADMIN_KEY,
            "TIDEGATE_REQUESTS_PER_MINUTE": "100000",
            "TIDEGATE_BURST_LIMIT": "1000",
            "CLAUDE_RATE_LIMIT_DELAY": "0.02",
            "MAX_RATE_LIMIT_DELAY": "0.05",
            "ANTHROPIC_API_KEY": SERVICE_KEY,
        }
        with running(own, "serve", **variables) as service:
            key = {"x-api-key": CALLER_KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}
            with (
                httpx2.Client(base_url=service.url, headers=key, timeout=60) as http,
                httpx2.Client(base_url=simulator.url) as control,
            ):
                yield Scene(service, http, control, received)


def relay_every_way(scene: Scene) -> None:
    plain = scene.post(MESSAGES, QUESTION)
    assert MARK in plain.text  # the completion repeats the prompt, with its mark
    streamed = scene.post(MESSAGES, {**QUESTION, "stream": True})
    assert MARK in streamed.text
    scene.post(MESSAGES, {**QUESTION, "model": "claude-of-tomorrow-5"})
    for body in (
        b'{"' + MARK.encode(),
        b"[]",
        {"model": "claude-sonnet-5-5", "messages": PROMPT},
        {"max_tokens": PROMPT},
    ):
        assert scene.post(MESSAGES, body).status_code == 400
    retried = ("overloaded", "internal_error", "bad_gateway", "rate_limited_bare", "cut")
    final = ("unauthenticated", "forbidden", "too_large", "refusal", "max_tokens")
    for kind in (*retried, *final):
        for stream in (False, True):
            scene.fault(kind)
            scene.post(MESSAGES, {**QUESTION, "stream": stream})
    scene.fault("stream_error", after_events=2)
    scene.post(MESSAGES, {**QUESTION, "stream": True})
    scene.fault("slow_start", delay_seconds=5)
    assert scene.post(MESSAGES, QUESTION, x_tidegate_timeout_seconds="0.3").status_code == 504
    assert scene.post(MESSAGES, QUESTION, x_tidegate_timeout_seconds=PROMPT).status_code == 400
    assert scene.post(MESSAGES, QUESTION, x_tidegate_hop=MARK).status_code == 200
    assert scene.post(MESSAGES, QUESTION, origin=f"http://{MARK}.example").status_code == 403
    scene.post(f"{MESSAGES}/count_tokens?beta={MARK}", QUESTION)
    batch = scene.post(f"{MESSAGES}/batches", {"requests": [{"custom_id": "one", "params": QUESTION}]})
    assert batch.status_code == 200
    scene.http.get(f"{MESSAGES}/batches", params={"beta": MARK})
    results = f"{MESSAGES}/batches/{batch.json()['id']}/results"
    deadline = time.monotonic() + 15
    while (answer := scene.http.get(results)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    assert MARK in answer.text
    host, port = scene.service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{MARK} {SERVICE_KEY}\r\n\r\n".encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 400 ")
    scene.http.get("/v1/models", headers={"authorization": f"Bearer {CALLER_KEY}"})
    upload = scene.http.post("/v1/files", files={"file": (f"{MARK}.txt", PROMPT.encode(), "text/plain")})
    assert upload.status_code == 200
    scene.http.get(f"/v1/files/{upload.json()['id']}/content")


def generate_every_way(scene: Scene) -> None:
    for fields in ({}, {"stream": True}, {"format": "yaml"}, {"fallback": True}):
        assert scene.post(f"{GENERATE}?key={MARK}", {"prompt": PROMPT, **fields}).status_code == 200
    for kind in ("invalid_workflow", "refusal", "max_tokens", "overloaded", "rate_limited_bare", "cut"):
        for count in (1, 2):
            scene.fault(kind, count=count)
            scene.post(GENERATE, {"prompt": PROMPT, "stream": count == 2, "fallback": count == 2})
    schema = {"type": "object", "description": PROMPT, "properties": {MARK: {"type": "string"}}}
    scene.post(GENERATE, {"prompt": PROMPT, "schema": schema})
    for wrong in (
        {"prompt": [PROMPT]},
        {"prompt": PROMPT * 10_000},
        {PROMPT: 1},
        {"prompt": PROMPT, "schema": {"type": MARK}},
    ):
        assert scene.post(GENERATE, wrong).status_code >= 400
    scene.post(GENERATE, b'{"prompt": ' + MARK.encode())


def be_refused(scene: Scene) -> None:
    """Run last, because it freezes pools for a long time."""
    haiku = {**QUESTION, "model": "claude-haiku-5-5"}
    scene.fault("spend_limit")
    assert scene.post(MESSAGES, haiku).status_code == 400
    for stream in (False, True):
        assert scene.post(MESSAGES, {**haiku, "stream": stream}).headers["x-tidegate-cause"] == "spend_cap"
        scene.post(GENERATE, {"prompt": PROMPT, "model": "claude-haiku-5-5", "stream": stream})
    assert "circuit open (pool haiku-5-5; cause spend_cap)" in scene.service.printed()
    scene.fault("ramp_limited")
    assert scene.post(MESSAGES, QUESTION, x_tidegate_timeout_seconds="0.3").status_code == 429
    assert scene.post(MESSAGES, QUESTION, x_tidegate_timeout_seconds="0.3").headers["x-tidegate-cause"] == "deadline"
    configure = "/api/system/rate-limiting/configure"
    assert scene.post(configure, {"burst_limit": 999}, x_api_key=ADMIN_KEY).status_code == 200
    assert scene.post(configure, {"burst_limit": PROMPT}, x_api_key=ADMIN_KEY).status_code == 422
    assert scene.post(configure, {"burst_limit": 1}).status_code in {401, 403}


def watched(scene: Scene) -> dict[str, str]:
    """Everything that the service exposes for monitoring."""
    openmetrics = {"accept": "application/openmetrics-text; version=1.0.0"}
    admin = {"x-api-key": ADMIN_KEY}
    bodies = {
        path: scene.http.get(path, headers=admin).text
        for path in (
            "/api/system/rate-limiting/status",
            "/api/system/ai-client/status",
            "/api/system/queue",
            "/healthz",
            "/readyz",
            "/metrics",
        )
    }
    bodies["OpenMetrics"] = scene.http.get("/metrics", headers=openmetrics).text
    scene.service.process.send_signal(signal.SIGTERM)
    assert scene.service.process.wait(30) == 0
    bodies["log"] = scene.service.printed()
    bodies["OTLP"] = "\n".join(map(str, scene.received.requests))
    return bodies


def test_no_prompt_completion_or_key_is_exposed(scene: Scene) -> None:
    relay_every_way(scene)
    generate_every_way(scene)
    be_refused(scene)
    seen = watched(scene)

    names = {span.name for span in scene.received.spans()}
    assert {
        *("POST /v1/messages", "chat claude-sonnet-5-5", "tidegate.acquire", "POST", "tidegate.retry_wait"),
        *("POST /api/workflows/generate", "tidegate.generate", "POST /v1/files", "POST /v1/messages/batches"),
    } <= names
    for text in ('"event":"request"', "services.dsl_generator.ai_client", '"outcome":"upstream_error"'):
        assert text in seen["log"]
    assert "tidegate_tokens_total" in seen["OpenMetrics"]
    for route in (MESSAGES, GENERATE):
        exemplar = (
            rf'tidegate_request_duration_seconds_bucket{{.*route="{route}"}} .* # {{span_id="\w+",trace_id="(\w+)"}}'
        )
        traced = re.findall(exemplar, seen["OpenMetrics"])
        assert traced
        assert bytes.fromhex(traced[0]) in {span.trace_id for span in scene.received.spans()}
    calls = [record for name, record in scene.received.logs() if name == "tidegate.requests" and record.trace_id]
    assert {record.trace_id for record in calls} <= {span.trace_id for span in scene.received.spans()}
    logged = set(re.findall(r'"event":"request".*"request_id":"(\w+)"', seen["log"]))
    assert {values(record.attributes)["request_id"] for record in calls} == logged
    metrics = scene.received.metrics()
    durations = metrics["gen_ai.client.operation.duration"].histogram.data_points
    errors = {values(point.attributes).get("error.type") for point in durations}
    assert {None, "400", "deadline"} <= errors
    tokens = metrics["tidegate_tokens_total"].sum.data_points
    assert {values(point.attributes)["kind"] for point in tokens} == {"input", "output", "cache_read", "cache_creation"}
    shown = {where: [line.strip()[:300] for line in text.splitlines() if MARK in line] for where, text in seen.items()}
    assert {where: lines for where, lines in shown.items() if lines} == {}
