"""The ledger of a running service: its sums are those of the simulator and of the metrics, also after a kill."""

import contextlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.service_and_simulator import ServiceAndSimulator, service_and_simulator
from support.service_process import run_to_end, running

pytestmark = pytest.mark.ledger
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
KINDS = ("input", "output", "cache_read", "cache_creation")
CALLS = 120
WRITTEN_SECONDS = 20
HEADERS = {"anthropic-version": "2023-06-01"}
CONTEXT = [{"type": "text", "text": "The sea is wide. " * 1_000, "cache_control": {"type": "ephemeral"}}]


@pytest.fixture
def on(tmp_path: Path) -> Iterator[ServiceAndSimulator]:
    variables = {"TIDEGATE_STATE_DIR": "state", "TIDEGATE_READ_ON_SECONDS": "30"}
    with service_and_simulator(tmp_path, variables=variables) as on:
        yield on


def usage(on: ServiceAndSimulator, by: str) -> dict[str, dict[str, Any]]:
    """The groups of the ledger by their name, once everything is written."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while any(on.metrics("tidegate_ledger_unwritten_seconds").values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = httpx2.get(f"{on.service.url}/api/system/usage", params={"by": by, "since": "1d"})
    answer.raise_for_status()
    return {group[by]: group for group in answer.json()["groups"]}


def load(on: ServiceAndSimulator) -> Counter[str]:
    """Make mixed calls, some of which are cancelled or meet faults. Returns how many ended how."""
    for kind in ("overloaded", "internal_error", "rate_limited"):
        fault = {"kind": kind, "count": 4, **({"retry_after_seconds": 1} if kind == "rate_limited" else {})}
        httpx2.post(f"{on.simulator.url}/simulator/faults", json=fault).raise_for_status()
    dice = random.Random(7)  # noqa: S311 - a load, not a secret
    calls = [(dice.choice(MODELS), dice.random(), dice.random() < 0.4, dice.randrange(1, 300)) for _ in range(CALLS)]

    def call(model: str, kind: float, cached: bool, tokens: int) -> str:  # noqa: FBT001 - a column of the load
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": 400,
            "messages": [{"role": "user", "content": f"Tell me {tokens} words."}],
            "stream": kind > 0.5,
            **({"system": CONTEXT} if cached else {}),
        }
        headers = {**HEADERS, "x-simulator-output-tokens": str(tokens)}
        with httpx2.stream("POST", f"{on.service.url}/v1/messages", json=body, headers=headers, timeout=60) as answer:
            if kind > 0.85:
                next(answer.iter_bytes(), None)
                return "cancelled"
            answer.read()
            return str(answer.status_code)

    with ThreadPoolExecutor(6) as at_once:
        return Counter(at_once.map(lambda each: call(*each), calls))


def batch(on: ServiceAndSimulator) -> list[dict[str, Any]]:
    """Run a batch, and read its results twice. Returns the usage that they report."""
    url = f"{on.service.url}/v1/messages/batches"
    params = {"model": MODELS[0], "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
    body = {"requests": [{"custom_id": f"r{number}", "params": params} for number in range(5)]}
    made = httpx2.post(url, json=body, headers=HEADERS).raise_for_status().json()
    deadline = time.monotonic() + WRITTEN_SECONDS
    while httpx2.get(f"{url}/{made['id']}", headers=HEADERS).json()["processing_status"] != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    results = f"{url}/{made['id']}/results"
    httpx2.get(results, headers=HEADERS).raise_for_status()
    lines = httpx2.get(results, headers=HEADERS).raise_for_status().text.splitlines()
    return [json.loads(line)["result"]["message"]["usage"] for line in lines]


def test_the_sums_are_those_of_the_simulator_and_of_the_metrics(on: ServiceAndSimulator) -> None:
    ends = load(on)
    on.comes_to_rest()
    assert ends["200"] > CALLS / 2
    assert ends["cancelled"] > CALLS / 20

    pools = usage(on, "pool")
    for family, theirs in on.state()["pools"].items():
        ours = pools[family.removeprefix("claude-")]["tokens"]
        assert ours["input"] + ours["cache_creation"] == theirs["input_tokens"], family
        assert ours["output"] == theirs["output_tokens"], family
    assert sum(pool["tokens"]["cache_read"] for pool in pools.values()) > 0

    results = batch(on)
    batches = usage(on, "pool")["batches"]["tokens"]
    assert batches["input"] == sum(each["input_tokens"] for each in results)
    assert batches["output"] == sum(each["output_tokens"] for each in results)

    models, responses = usage(on, "model"), 0
    for model in MODELS:
        counted = Counter[str]()
        for labels, tokens in on.metrics("tidegate_tokens_total").items():
            if f'model="{model}"' in labels:
                counted[re.findall(r'kind="(\w+)"', labels)[0]] += round(tokens)
        assert {kind: models[model]["tokens"][kind] for kind in KINDS} == {kind: counted[kind] for kind in KINDS}
        responses += models[model]["calls"]
        spent = sum(
            dollars for labels, dollars in on.metrics("tidegate_cost_usd_total").items() if f'model="{model}"' in labels
        )
        # Each response is rounded to a micro-dollar.
        assert models[model]["cost_usd"] == pytest.approx(spent, abs=0.5e-6 * (models[model]["calls"] + len(results)))
    finished = on.metrics("tidegate_requests_total").items()
    pool_labels = [f'pool="{model.removeprefix("claude-")}"' for model in MODELS]
    assert responses == sum(count for labels, count in finished if any(pool in labels for pool in pool_labels))


def test_refusals_are_counted_by_cause_as_in_the_metrics(on: ServiceAndSimulator) -> None:
    body = {"model": MODELS[0], "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    loops = {**HEADERS, "x-tidegate-hop": "x"}
    httpx2.post(f"{on.service.url}/v1/messages", json=body, headers=loops)
    refused = httpx2.post(
        f"{on.service.url}/v1/messages", json=body, headers={**HEADERS, "x-tidegate-timeout-seconds": "0.000001"}
    )
    causes: Counter[str] = Counter()
    for group in usage(on, "caller").values():
        causes.update(group["refusals"])
    counted: Counter[str] = Counter()
    for labels, count in on.metrics("tidegate_refused_total").items():
        counted[re.findall(r'cause="(\w+)"', labels)[0]] += round(count)
    assert causes == +counted
    assert refused.status_code >= 400


def test_after_a_kill_at_most_the_usage_of_the_last_second_is_missing(on: ServiceAndSimulator, tmp_path: Path) -> None:
    body = {"model": MODELS[0], "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    variables = {
        "ANTHROPIC_API_KEY": "any",
        "TIDEGATE_UPSTREAM_URL": on.simulator.url,
        "TIDEGATE_STATE_DIR": str(tmp_path / "state"),
    }
    with running(tmp_path, "serve", **variables) as service, contextlib.suppress(httpx2.TransportError):
        answered: list[float] = []
        began = time.monotonic()
        while time.monotonic() < began + 3:
            httpx2.post(f"{service.url}/v1/messages", json=body, headers=HEADERS).raise_for_status()
            answered.append(time.monotonic())
        killed = time.monotonic()
        service.process.kill()
        service.process.wait()
    printed = run_to_end(tmp_path, "usage", "--format", "json", TIDEGATE_STATE_DIR=variables["TIDEGATE_STATE_DIR"])
    assert printed.returncode == 0, printed.stderr
    calls = json.loads(printed.stdout)["total"]["calls"]
    # Twice the promise: a busy machine may not have run the thread in time.
    assert sum(at < killed - 2 for at in answered) <= calls <= len(answered)
