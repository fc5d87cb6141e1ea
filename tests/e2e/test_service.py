"""The service as a process with its simulator as upstream: every call in the README."""

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
import yaml

from support.programs import output_of
from support.service_process import ServiceProcess, running
from tidegate.generation.dsl import check_document

PROMPT = "When an order arrives, check stock, charge the card, retry twice, then notify the warehouse"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(
        tmp_path_factory.mktemp("service"), "serve", "--upstream", "simulator", TIDEGATE_REQUESTS_PER_MINUTE="600"
    ) as started:
        yield started


@pytest.fixture
def http(service: ServiceProcess) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture
def sdk(service: ServiceProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=service.url, api_key="any", max_retries=0, open_telemetry=False) as client:
        yield client


def generate(http: httpx2.Client, **body: Any) -> httpx2.Response:
    return http.post("/api/workflows/generate", json={"prompt": PROMPT, **body})


def test_the_greeting_has_urls_and_an_example_and_says_that_answers_are_simulated(service: ServiceProcess) -> None:
    greeting = service.printed()
    assert "SIMULATED UPSTREAM" in greeting
    for place in ("/api/workflows/generate", "/api/system/rate-limiting/status", "/docs", "/metrics"):
        assert f"{service.url}{place}" in greeting


def test_the_example_in_the_greeting_works(service: ServiceProcess) -> None:
    command = service.printed().split("try:\n")[1].splitlines()[0].strip()
    assert json.loads(output_of("bash", "-c", command))["valid"] is True


def test_generate_answers_with_a_valid_document(http: httpx2.Client) -> None:
    answer = generate(http)
    assert answer.status_code == 200
    assert answer.headers["x-tidegate-upstream"] == "simulator"
    assert int(answer.headers["x-tidegate-attempts"]) == 1
    assert int(answer.headers["x-tidegate-queue-ms"]) >= 0
    body = answer.json()
    assert check_document(body["workflow"]) == ()
    assert body["usage"]["output_tokens"] > 0
    assert body["request_id"] == answer.headers["x-tidegate-request-id"]


def test_generate_answers_in_yaml(http: httpx2.Client) -> None:
    document = yaml.safe_load(generate(http, format="yaml").json()["workflow"])
    assert check_document(document) == ()


def test_generate_meets_a_schema_of_the_caller(http: httpx2.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}}},
        "required": ["steps"],
        "additionalProperties": False,
    }
    assert isinstance(generate(http, schema=schema).json()["workflow"]["steps"], list)


def test_generate_streams_its_progress(http: httpx2.Client) -> None:
    with http.stream("POST", "/api/workflows/generate", json={"prompt": PROMPT, "stream": True}) as answer:
        lines = list(answer.iter_lines())
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[0] == "attempt"
    assert {"text", "validated"} <= set(names)
    assert names[-1] == "done"
    assert json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))["valid"] is True


def test_an_invalid_document_is_repaired_once_or_reported(service: ServiceProcess) -> None:
    upstream = service.place("upstream")
    with httpx2.Client(timeout=30) as http:
        http.post(f"{upstream}/simulator/faults", json={"kind": "invalid_workflow", "count": 1}).raise_for_status()
        mended = http.post(f"{service.url}/api/workflows/generate", json={"prompt": PROMPT})
        assert (mended.status_code, mended.json()["repaired"]) == (200, True)
        http.post(f"{upstream}/simulator/faults", json={"kind": "invalid_workflow", "count": 2}).raise_for_status()
        invalid = http.post(f"{service.url}/api/workflows/generate", json={"prompt": PROMPT})
        assert invalid.status_code == 422
        assert invalid.json()["findings"]


def test_the_anthropic_sdk_works_with_the_base_url_alone(sdk: anthropic.Anthropic) -> None:
    question: Any = [{"role": "user", "content": "Say hello"}]
    message = sdk.messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=question)
    assert message.content[0].type == "text"
    assert message.usage.output_tokens > 0
    with sdk.messages.stream(model="claude-sonnet-5-5", max_tokens=100, messages=question) as stream:
        text = "".join(stream.text_stream)
    assert text
    assert sdk.messages.count_tokens(model="claude-sonnet-5-5", messages=question).input_tokens > 0
    assert [model.id for model in sdk.models.list()]


def test_status_configure_and_client_status(http: httpx2.Client) -> None:
    status = http.get("/api/system/rate-limiting/status").json()
    assert {"available_tokens", "total_requests", "rate_limited_requests", "requests_per_minute"} <= set(
        status["current_state"]
    )
    changed = http.post("/api/system/rate-limiting/configure", json={"jitter_factor": 0.3})
    assert changed.json()["configuration"]["jitter_factor"] == 0.3
    assert http.get("/api/system/ai-client/status").json()["model"] == "claude-sonnet-5-5"


def test_metrics_count_what_happened(http: httpx2.Client, sdk: anthropic.Anthropic) -> None:
    sdk.messages.create(model="claude-sonnet-5-5", max_tokens=10, messages=[{"role": "user", "content": "Hi"}])
    generate(http)
    metrics = http.get("/metrics").text
    assert 'tidegate_requests_total{caller="default",outcome="ok",pool="sonnet-5-5",route="/v1/messages"}' in metrics
    assert 'outcome="ok",pool="sonnet-5-5",route="/api/workflows/generate"}' in metrics
    assert 'upstream="simulator"' in metrics
    openmetrics = http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")


def test_the_usage_of_a_batch_is_counted_once_at_half_the_price(http: httpx2.Client, sdk: anthropic.Anthropic) -> None:
    params: Any = {
        "model": "claude-opus-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Count the orders of today"}],
    }
    batch = sdk.messages.batches.create(requests=[{"custom_id": f"r{n}", "params": params} for n in range(3)])
    deadline = time.monotonic() + 15
    while sdk.messages.batches.retrieve(batch.id).processing_status != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.05)

    downloads = [list(sdk.messages.batches.results(batch.id)) for _ in "12"]

    assert downloads[0] == downloads[1]
    usages = [each.result.message.usage for each in downloads[0] if each.result.type == "succeeded"]
    assert len(usages) == 3
    usd = sum(usage.input_tokens * 4 + usage.output_tokens * 20 for usage in usages) / 1_000_000 / 2
    found = re.search(
        r'tidegate_cost_usd_total\{caller="default",model="claude-opus-5-5"\} (\S+)', http.get("/metrics").text
    )
    assert found
    assert float(found[1]) == pytest.approx(usd)


def test_probes_and_documentation(http: httpx2.Client) -> None:
    assert http.get("/healthz").json()["status"] == "alive"
    assert http.get("/readyz").json() == {"ready": True, "reasons": []}
    bare = http.get("/")
    assert (bare.status_code, bare.headers["location"]) == (307, "docs"), "a browser at the bare address finds the page"
    page = http.get("/docs").text
    assert "swagger" in page
    assert "https://" not in page, "the page must work without a network"
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 3
    for file in files:
        assert len(http.get(file).content) > 1_000, file
    assert http.get("/docs/redoc.standalone.js").status_code == 404
    assert "/api/workflows/generate" in http.get("/openapi.json").json()["paths"]


def test_invalid_input_gets_the_error_format_of_its_route(http: httpx2.Client) -> None:
    problem = http.post("/api/system/rate-limiting/configure", json={"burst_limit": 0})
    assert (problem.status_code, problem.json()["errors"][0]["field"]) == (422, "burst_limit")
    assert generate(http, format="xml").status_code == 422
    assert http.post("/api/workflows/generate", json={"prompt": "x" * 1_100_000}).status_code == 413
    anthropic_shaped = http.post("/v1/messages", content=b"{", headers={"content-type": "application/json"})
    assert (anthropic_shaped.status_code, anthropic_shaped.json()["type"]) == (400, "error")
    foreign = http.post("/v1/messages", json={}, headers={"origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_service_with_exit_code_0(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_METRICS_PORT="0") as service:
        metrics = service.place("metrics")
        assert not metrics.startswith(service.url)
        assert "tidegate_build_info" in httpx2.get(metrics).text
        assert httpx2.get(f"{service.url}/metrics").status_code == 404
        service.process.send_signal(number)
        assert service.process.wait(timeout=20) == 0
        assert "Traceback" not in service.printed()


def test_the_simulator_alone(tmp_path: Path) -> None:
    with running(tmp_path, "simulator", "--fault", "overloaded:count=1") as simulator:
        body = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
        statuses = [httpx2.post(f"{simulator.url}/v1/messages", json=body, headers=headers).status_code for _ in "12"]
        assert statuses == [529, 200]
        simulator.process.terminate()
        assert simulator.process.wait(timeout=20) == 0


def test_each_call_is_one_line_of_the_log(service: ServiceProcess, sdk: anthropic.Anthropic) -> None:
    answer = sdk.messages.with_raw_response.create(
        model="claude-sonnet-5-5", max_tokens=10, messages=[{"role": "user", "content": "a prompt to keep"}]
    )
    request_id = answer.headers["x-tidegate-request-id"]
    deadline = time.monotonic() + 10
    while request_id not in service.printed():  # lines are written together, a moment after their calls
        assert time.monotonic() < deadline, service.printed()
        time.sleep(0.01)
    (line,) = [json.loads(line) for line in service.printed().splitlines() if request_id in line]
    assert (line["event"], line["route"], line["status"], line["outcome"]) == ("request", "/v1/messages", 200, "ok")
    assert line["output_tokens"] == answer.parse().usage.output_tokens
    assert "a prompt to keep" not in service.printed()


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_dead_collector_delays_no_call(protocol: str, tmp_path: Path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with running(tmp_path, "serve", "--upstream", "simulator", **variables) as service:
        answer = httpx2.post(f"{service.url}/api/workflows/generate", json={"prompt": PROMPT}, timeout=30)
        assert answer.status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=20) == 0
        assert answer.headers["x-tidegate-request-id"] in service.printed()
