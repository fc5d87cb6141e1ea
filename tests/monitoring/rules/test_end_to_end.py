"""Faults in the real service fire in a real Alertmanager, and are over there when they are over: by the short rules."""

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import yaml

from support.daemon import daemon
from support.project import ROOT
from support.service_process import running

PATIENCE_SECONDS = 60
FOLDER = ROOT / "deploy"
POOL = "sonnet-5-5"


@dataclass(frozen=True, slots=True)
class Stack:
    service: str
    simulator: str
    alertmanager: str

    def fault(self, **fault: Any) -> None:
        httpx2.post(f"{self.simulator}/simulator/faults", json=fault, timeout=10).raise_for_status()

    def clear(self) -> None:
        httpx2.request("DELETE", f"{self.simulator}/simulator/faults", timeout=10).raise_for_status()
        path = "/api/system/rate-limiting/configure"  # says that a spend cap was raised
        httpx2.post(f"{self.service}{path}", json={"pool": POOL}, timeout=10).raise_for_status()

    def call(self, *, timeout_seconds: float = 1.0) -> None:
        """One streaming call; whatever comes of it is what the alerts are about."""
        body = {"model": "claude-sonnet-5-5", "max_tokens": 5, "stream": True}
        headers = {"anthropic-version": "2023-06-01", "x-tidegate-timeout-seconds": str(timeout_seconds)}
        messages = [{"role": "user", "content": "Hi"}]
        httpx2.post(f"{self.service}/v1/messages", json=body | {"messages": messages}, headers=headers, timeout=30)

    def alerts(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What Alertmanager has, by name and severity."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts", timeout=10) as answer:  # noqa: S310 - ours
            found = json.load(answer)
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]): alert for alert in found}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Service, simulator, Prometheus with the short rules, and Alertmanager with the shipped configuration."""
    directory = tmp_path_factory.mktemp("stack")
    shutil.copy(FOLDER / "alertmanager/alertmanager.yml", directory)

    def alertmanager_arguments(address: str) -> list[str]:
        listen = [f"--web.listen-address={address}", "--cluster.listen-address="]
        return ["--config.file=alertmanager.yml", "--storage.path=alertmanager", *listen]

    def prometheus_arguments(address: str) -> list[str]:
        resend = ["--rules.alert.resend-delay=1s", f"--web.listen-address={address}"]
        return ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", *resend]

    with (
        running(directory, "serve", "--upstream", "simulator") as service,
        daemon(directory, "prometheus-alertmanager", "prometheus-alertmanager", alertmanager_arguments) as alertmanager,
    ):
        rules = [str(path) for path in (FOLDER / "prometheus/rules").glob("*.e2e.yml")]
        targets = [{"targets": [service.url.removeprefix("http://")]}]
        managers = [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "alerting": {"alertmanagers": managers},
            "scrape_configs": [{"job_name": "tidegate", "static_configs": targets}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        with daemon(directory, "prometheus", "prometheus", prometheus_arguments):
            stack = Stack(service.url, service.place("upstream"), alertmanager)
            stack.call(timeout_seconds=10)
            wait_for(lambda: ("TidegateUpstreamIsSimulator", "warning") in stack.alerts(), "the first scrape")
            yield stack


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for {what}"
        time.sleep(0.2)


@pytest.mark.serial
@pytest.mark.parametrize(
    ("fault", "alert", "pool"),
    [
        pytest.param({"kind": "rate_limited", "retry_after_seconds": 1}, ("TidegateRateLimitSpike", "critical"), POOL),
        pytest.param({"kind": "overloaded"}, ("TidegateUpstreamOverloaded", "critical"), POOL),
        pytest.param({"kind": "internal_error"}, ("TidegateUpstreamErrors", "critical"), POOL),
        pytest.param({"kind": "spend_cap"}, ("TidegateSpendCapReached", "critical"), None),
        pytest.param({"kind": "internal_error"}, ("TidegateAvailabilityBurn", "critical"), None),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_fault_fires_and_resolves(
    stack: Stack, fault: dict[str, Any], alert: tuple[str, str], pool: str | None
) -> None:
    stack.fault(**fault)
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            stack.call()

    with ThreadPoolExecutor(4) as callers:
        loads = [callers.submit(load) for _ in range(4)]
        try:
            wait_for(lambda: alert in stack.alerts(), f"{alert} to fire")
            fired = stack.alerts()[alert]
        finally:
            stack.clear()
            over.set()
    for each in loads:
        each.result()

    assert fired["labels"]["job"] == "tidegate"
    assert fired["labels"].get("pool") == pool
    assert fired["annotations"]["runbook_url"].endswith(f"/{alert[0]}.md")
    assert (FOLDER / "runbooks" / f"{alert[0]}.md").exists()
    assert "var-job=tidegate" in fired["annotations"]["dashboard_url"]
    assert "{{" not in fired["annotations"]["description"]
    wait_for(lambda: alert not in stack.alerts(), f"{alert} to resolve")
