"""Every alert has its runbook, and every command in them works against a running service."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from support.daemon import daemon
from support.project import ROOT
from support.service_process import running
from tidegate.core.domain.cause import Cause
from tidegate.identity.identify import key_hash
from tidegate.monitoring import RUNBOOKS_FOLDER
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation
from tidegate.observe.metrics import thresholds
from tidegate.observe.metrics.catalogue import CATALOGUE

FOLDER = RUNBOOKS_FOLDER
RULES = ROOT / "deploy/prometheus/rules"
RUNBOOKS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Configuration", "Escalation"]
CALLER_KEY, ADMIN_KEY = "a-key-of-a-caller", "that-of-the-admin"
OF_ONE_POOL = {
    rule.name
    for group in alert_groups(Installation())
    for rule in group.rules
    if isinstance(rule, Alert) and "pool" in rule.by
}
LABELS = {metric.name: metric.labels for metric in CATALOGUE}
ALERTS = {rule.name for group in alert_groups(Installation()) for rule in group.rules if isinstance(rule, Alert)}


def commands(runbook: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", runbook.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_alerts_and_runbooks_agree() -> None:
    assert {path.stem for path in RUNBOOKS} == ALERTS


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_each_has_the_same_headings_and_links_that_lead_somewhere(runbook: Path) -> None:
    text = runbook.read_text()
    assert text.startswith(f"# {runbook.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert commands(runbook)
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not (FOLDER / link).exists()] == []
    assert [name for name in re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)`", text) if "_" in name and not _known(name)] == []


def test_what_the_commands_ask_for_is_explained() -> None:
    explained = (FOLDER / "README.md").read_text()
    asked = {name for runbook in RUNBOOKS for line in commands(runbook) for name in re.findall(r"\$([A-Z_]+)", line)}
    assert [name for name in asked if f"{name}=" not in explained] == []


def _known(name: str) -> bool:
    return name.startswith(("TIDEGATE_", "ANTHROPIC_")) or hasattr(thresholds, name)


def test_the_runbook_of_refusals_covers_every_cause() -> None:
    mitigation = (FOLDER / "TidegateRefusals.md").read_text().partition("## Mitigation")[2].partition("## ")[0]
    assert [cause for cause in Cause if f"`{cause}`" not in mitigation] == []


def test_runbooks_name_existing_metrics_only() -> None:
    names = {metric.name for metric in CATALOGUE}
    recorded = set(re.findall(r"record: (\S+)", (RULES / "tidegate-recording.yml").read_text()))
    for runbook in RUNBOOKS:
        for name in re.findall(r"\btidegate[_:][\w:]+", "\n".join(commands(runbook))):
            assert name in recorded or re.sub(r"_(bucket|count|sum)$", "", name) in names, (runbook.stem, name)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_queries_take_job_and_pool_from_the_alert(runbook: Path) -> None:
    if runbook.stem == "TidegateMetricsAbsent":
        return  # it asks which jobs there are
    for command in commands(runbook):
        # What the service says of its pools fills a screen.
        assert ".pools" not in command or runbook.stem not in OF_ONE_POOL or ".pools[env.POOL]" in command, command
    for command in (line for line in commands(runbook) if line.startswith("promtool")):
        assert set(re.findall(r'\bjob="([^"]*)"', command)) <= {"'$JOB'"}, command
        for name, conditions in re.findall(r"\b(tidegate[_:][\w:]+)(?:{([^}]*)})?", command):
            assert "$JOB" in conditions, command
            has_pool = "pool" in LABELS.get(re.sub(r"_(bucket|count|sum)$", "", name), ())
            assert not has_pool or runbook.stem not in OF_ONE_POOL or "$POOL" in conditions, command


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A service that has answered a few calls, and a Prometheus that has seen them."""
    directory = tmp_path_factory.mktemp("runbooks")

    def arguments(address: str) -> list[str]:
        return ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]

    (directory / "tidegate.toml").write_text(f'callers = [{{name = "on-call", key_sha256 = "{key_hash(CALLER_KEY)}"}}]')
    with running(
        directory, "serve", "--upstream", "simulator", TIDEGATE_ADMIN_KEY=ADMIN_KEY, TIDEGATE_STATE_DIR="state"
    ) as service:
        target = {"targets": [service.url.removeprefix("http://")]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / name) for name in ("tidegate-recording.yml", "tidegate-alerts.yml")],
            "scrape_configs": [{"job_name": "tidegate", "static_configs": [target]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        body = {"model": "claude-sonnet-5-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"anthropic-version": "2023-06-01", "x-api-key": CALLER_KEY}
        for stream in (False, True):
            url = f"{service.url}/v1/messages"
            httpx2.post(url, json=body | {"stream": stream}, headers=headers, timeout=30).raise_for_status()
        with daemon(directory, "prometheus", "prometheus", arguments) as url:
            _wait_until_evaluated(url)
            upstream = service.place("upstream")
            # An answer of the service that is an error fails the command.
            (directory / ".curlrc").write_text("fail-with-body\n")
            yield {
                "TIDEGATE": service.url,
                "PROMETHEUS": url,
                "UPSTREAM": upstream,
                "CALLER_KEY": CALLER_KEY,
                "ADMIN_KEY": ADMIN_KEY,
                "JOB": "tidegate",
                "POOL": "sonnet-5-5",
                "DIMENSION": "input_tokens",
                "LIMIT": "400000",
                "CURL_HOME": str(directory),
            }


def _wait_until_evaluated(url: str) -> None:
    deadline = time.monotonic() + 20
    expr = 'ALERTS{alertname="Watchdog"} and on () tidegate_build_info'
    command = ["promtool", "query", "instant", url, expr]
    while not subprocess.run(command, capture_output=True, timeout=30, check=True).stdout.strip():
        assert time.monotonic() < deadline, "Prometheus evaluates no rules, or scrapes nothing"
        time.sleep(0.1)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_the_commands_work(runbook: Path, places: dict[str, str]) -> None:
    for command in commands(runbook):
        # The upstream answers its bare address with 404; what counts there is that it answers.
        strict = {} if "$UPSTREAM" in command else {"CURL_HOME": places["CURL_HOME"]}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=os.environ | {name: value for name, value in places.items() if name != "CURL_HOME"} | strict,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "NaN" not in done.stdout, command
        # A query may rightly find nothing while there is no fault; what asks the service finds something.
        assert done.stdout.strip() or command.startswith("promtool"), command
