"""Alerts get to whom they should, and an alert that explains others silences them: in the real Alertmanager."""

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest
import yaml

from support.daemon import daemon
from tidegate.monitoring import ALERTMANAGER_FILE
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation

CONFIG = ALERTMANAGER_FILE
ALERTS = [rule for group in alert_groups(Installation()) for rule in group.rules if isinstance(rule, Alert)]
RECEIVERS = {"critical": "pages", "warning": "tickets", "info": "nobody", "none": "watchdog"}
PATIENCE_SECONDS = 10


def amtool(*arguments: str) -> str:
    program = shutil.which("amtool")
    assert program, "amtool is missing; on Debian: apt-get install --no-install-recommends prometheus-alertmanager"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_configuration_is_valid() -> None:
    amtool("check-config", str(CONFIG))


@pytest.mark.parametrize("severity", RECEIVERS)
def test_the_severity_decides_the_receiver(severity: str) -> None:
    name = next(rule.name for rule in ALERTS if rule.severity == severity)
    labels = [f"alertname={name}", f"severity={severity}", "job=tidegate"]
    assert amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels) == RECEIVERS[severity]


def test_inhibition_speaks_of_alerts_that_exist() -> None:
    names = {rule.name for rule in ALERTS}
    patterns = [
        matcher
        for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if matcher.startswith("alertname") and ".+" not in matcher
    ]
    named = {name for pattern in patterns for name in pattern.split('"')[1].split("|")}
    assert named <= names


@pytest.fixture(scope="module")
def received() -> Iterator[tuple[str, "Queue[dict[str, Any]]"]]:
    """The URL of a receiver, and what it was sent."""
    messages: Queue[dict[str, Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", messages
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def alertmanager(
    tmp_path_factory: pytest.TempPathFactory, received: tuple[str, "Queue[dict[str, Any]]"]
) -> Iterator[str]:
    """The base URL of an Alertmanager with the shipped configuration, whose receivers are the test's."""
    directory = tmp_path_factory.mktemp("alertmanager")
    shutil.copy(CONFIG, directory)
    (directory / "urls").mkdir()
    for receiver in ("pages", "tickets", "watchdog"):
        (directory / "urls" / receiver).write_text(received[0])

    def arguments(address: str) -> list[str]:
        return [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]

    with daemon(directory, "prometheus-alertmanager", "prometheus-alertmanager", arguments) as url:
        yield url


def fire(alertmanager: str, *alerts: dict[str, str]) -> None:
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{alertmanager}/api/v2/alerts", body, {"content-type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - ours


def silenced(alertmanager: str, job: str) -> set[str]:
    """Names and severities of the alerts of a job that another one inhibits."""
    with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts?filter=job={job}", timeout=10) as answer:  # noqa: S310
        alerts = json.load(answer)
    return {
        f"{alert['labels']['alertname']} {alert['labels']['severity']}"
        for alert in alerts
        if alert["status"]["inhibitedBy"]
    }


def alert(name: str, severity: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, **labels}


DOWN = alert("TidegateDown", "critical")
WAITS = alert("TidegateQueueWaitHigh", "warning", pool="p", **{"class": "standard"})
FAILS = alert("TidegateAvailabilityBurn", "critical", pool="p", window="1h")


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        pytest.param(
            [DOWN, alert("TidegateDown", "warning", instance="a"), WAITS, FAILS],
            {"TidegateDown warning", "TidegateQueueWaitHigh warning", "TidegateAvailabilityBurn critical"},
            id="down",
        ),
        pytest.param(
            [alert("TidegateDown", "warning", instance="a"), WAITS], set(), id="one replica down silences nothing"
        ),
        pytest.param(
            [
                alert("TidegateRateLimitSpike", "warning", pool="p"),
                alert("TidegatePoolFrozen", "warning", pool="p"),
                alert("TidegateQuotaRunsOut", "warning", pool="p", dimension="requests"),
                alert("TidegateAdaptiveRateLow", "warning", pool="q"),
            ],
            {"TidegatePoolFrozen warning", "TidegateQuotaRunsOut warning"},
            id="429s",
        ),
        pytest.param(
            [
                alert("TidegatePoolFrozen", "warning", pool="p"),
                alert("TidegateRefusals", "warning", pool="p", cause="deadline"),
            ],
            {"TidegateRefusals warning"},
            id="a closed pool",
        ),
        pytest.param(
            [
                alert("TidegatePoolFrozen", "warning", pool="p"),
                alert("TidegateRefusals", "warning", pool="p", cause="unauthenticated"),
                alert("TidegateRefusals", "warning", pool="q", cause="deadline"),
            ],
            set(),
            id="refusals beside a closed pool",
        ),
        pytest.param(
            [alert("TidegateUpstreamOverloaded", "critical", pool="p"), WAITS, FAILS],
            {"TidegateQueueWaitHigh warning", "TidegateAvailabilityBurn critical"},
            id="outage",
        ),
        pytest.param(
            [alert("TidegateUpstreamOverloaded", "warning", pool="p"), WAITS, FAILS], set(), id="no outage yet"
        ),
        pytest.param(
            [
                alert("TidegateUpstreamOverloaded", "critical", pool="q"),
                WAITS,
                FAILS,
                alert("TidegateRefusals", "warning", pool="p", cause="deadline"),
            ],
            {"TidegateQueueWaitHigh warning"},
            id="outage of another pool",
        ),
        *(
            pytest.param(
                [
                    alert(name, "critical", pool="p"),
                    FAILS,
                    alert("TidegateLatencyBurn", "critical", pool="p", window="6h"),
                    alert("TidegateRefusals", "warning", pool="p", cause="upstream_credentials"),
                    alert("TidegateQueueGrowing", "warning", pool="p"),
                ],
                {
                    "TidegateAvailabilityBurn critical",
                    "TidegateLatencyBurn critical",
                    "TidegateRefusals warning",
                    "TidegateQueueGrowing warning",
                },
                id=f"one page for {name}",
            )
            for name in ("TidegateKeyRejected", "TidegateModelNotFound", "TidegateUpstreamHangs")
        ),
        pytest.param(
            [
                alert("TidegateLimitFell", "warning", pool="p", dimension="requests"),
                alert("TidegateLatencyBurn", "critical", pool="p", window="1h"),
                alert("TidegateRateLimitSpike", "warning", pool="p"),
                alert("TidegateQuotaRunsOut", "warning", pool="p", dimension="requests"),
                WAITS,
                alert("TidegateRefusals", "warning", pool="p", cause="deadline"),
                alert("TidegateRefusals", "warning", pool="p", cause="unauthenticated"),
            ],
            {
                "TidegateRateLimitSpike warning",
                "TidegateQuotaRunsOut warning",
                "TidegateQueueWaitHigh warning",
                "TidegateRefusals warning",
            },
            id="a limit that fell is one page and one ticket",
        ),
        pytest.param(
            [
                alert("TidegateRefusals", "warning", pool="p", cause="deadline"),
                WAITS,
                alert("TidegateQueueGrowing", "warning", pool="p"),
                alert("TidegateQueueGrowing", "warning", pool="q"),
            ],
            {"TidegateQueueWaitHigh warning", "TidegateQueueGrowing warning"},
            id="flood",
        ),
        pytest.param(
            [
                alert("TidegateSpendCapReached", "critical"),
                FAILS,
                alert("TidegateRefusals", "warning", pool="p", cause="spend_cap"),
            ],
            {"TidegateAvailabilityBurn critical", "TidegateRefusals warning"},
            id="spend cap",
        ),
        pytest.param(
            [
                alert("TidegateDegraded", "warning", instance="a"),
                FAILS,
                alert("TidegateRefusals", "warning", pool="p", cause="store_unavailable"),
            ],
            {"TidegateRefusals warning"},
            id="a lost store",
        ),
        pytest.param(
            [
                alert("TidegateLedgerNotWritten", "warning", instance="a"),
                alert("TidegateRefusals", "warning", pool="p", cause="ledger_unavailable"),
            ],
            {"TidegateRefusals warning"},
            id="a lost ledger",
        ),
        pytest.param(
            [
                alert("TidegateBudgetUsedUp", "warning", budget="day"),
                alert("TidegateBudgetRunsOut", "warning", budget="day"),
                alert("TidegateBudgetLow", "warning", budget="day"),
                alert("TidegateRefusals", "warning", pool="p", cause="budget"),
            ],
            {"TidegateRefusals warning", "TidegateBudgetLow warning", "TidegateBudgetRunsOut warning"},
            id="a budget that is used up",
        ),
        pytest.param(
            [
                alert("TidegateBudgetRunsOut", "warning", budget="day"),
                alert("TidegateBudgetLow", "warning", budget="day"),
            ],
            {"TidegateBudgetLow warning"},
            id="a budget that runs out",
        ),
        pytest.param(
            [alert("TidegateSpendCapReached", "critical"), alert("TidegateRefusals", "warning", cause="loop")],
            set(),
            id="refusals beside a spend cap",
        ),
        pytest.param(
            [
                alert("TidegateBudgetUsedUp", "warning", budget="day"),
                alert("TidegateBudgetLow", "warning", budget="day"),
                alert("TidegateRefusals", "warning", pool="p", cause="budget"),
            ],
            {"TidegateBudgetLow warning", "TidegateRefusals warning"},
            id="budget",
        ),
        pytest.param(
            [
                alert("TidegateBudgetUsedUp", "warning", budget="day"),
                alert("TidegateBudgetLow", "warning", budget="month"),
                alert("TidegateRefusals", "warning", pool="p", cause="deadline"),
            ],
            set(),
            id="another budget",
        ),
        pytest.param(
            [
                alert("TidegateUpstreamIsSimulator", "warning"),
                alert("TidegateSpendUnusual", "warning"),
                WAITS,
            ],
            {"TidegateSpendUnusual warning"},
            id="simulator",
        ),
        pytest.param(
            [
                FAILS,
                alert("TidegateAvailabilityBurn", "warning", pool="q", window="3d"),
                alert("TidegateLatencyBurn", "critical", pool="p", window="1h"),
                alert("TidegateLatencyBurn", "critical", pool="q", window="6h"),
            ],
            {"TidegateAvailabilityBurn warning", "TidegateLatencyBurn critical"},
            id="burn",
        ),
    ],
)
def test_an_alert_inhibits_its_consequences(
    alertmanager: str, request: pytest.FixtureRequest, alerts: list[dict[str, str]], expected: set[str]
) -> None:
    job = request.node.callspec.id.replace(" ", "-")  # each case has a job of its own: they share an Alertmanager
    fire(alertmanager, *({**labels, "job": job} for labels in alerts))

    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := silenced(alertmanager, job)) != expected and time.monotonic() < deadline:
        time.sleep(0.05)

    assert found == expected


def test_the_watchdog_arrives_at_once(alertmanager: str, received: tuple[str, "Queue[dict[str, Any]]"]) -> None:
    fire(alertmanager, alert("Watchdog", "none", job="tidegate"))
    message = received[1].get(timeout=PATIENCE_SECONDS)
    assert (message["receiver"], message["commonLabels"]["alertname"]) == ("watchdog", "Watchdog")


def test_many_pools_with_one_fault_are_one_message(alertmanager: str) -> None:
    spikes = [alert("TidegateRateLimitSpike", "warning", job="grouping", pool=pool) for pool in ("p", "q", "r")]
    fire(alertmanager, *spikes, alert("TidegateQueueGrowing", "warning", job="grouping", pool="p"))

    def groups() -> list[list[str]]:
        url = f"{alertmanager}/api/v2/alerts/groups?filter=job=grouping"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            found = json.load(answer)
        return sorted([each["labels"]["alertname"] for each in group["alerts"]] for group in found)

    expected = [["TidegateQueueGrowing"], ["TidegateRateLimitSpike"] * 3]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while groups() != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert groups() == expected
