"""`python -m deploy.stack`: its parts, and the whole of it started and ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.stack.configuration import write_configuration
from deploy.stack.programs import Program, StackError, running
from deploy.stack.receiver import as_lines, printing_receiver
from deploy.stack.telemetry import why_missing
from support.client_environment import stack_tools
from support.project import ROOT

PATIENCE_SECONDS = 60
TELEMETRY_SECONDS = 400
"""The trace view needs a minute to start on two idle cores."""
NAMES = ("service", "simulator", "prometheus", "alertmanager", "collector", "traces")


@contextmanager
def free_ports() -> Iterator[dict[str, int]]:
    """A port for each server; held while the block runs."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in NAMES}
    try:
        yield {name: held.getsockname()[1] for name, held in sockets.items()}
    finally:
        for held in sockets.values():
            held.close()


def options(ports: dict[str, int]) -> list[str]:
    return [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]


def run_to_end(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.stack", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_missing_programs_are_named_with_their_packages(tmp_path: Path) -> None:
    told = run_to_end(PATH=str(tmp_path))
    assert told.returncode == 1
    assert told.stderr == (
        "make stack needs prometheus and prometheus-alertmanager on the PATH; "
        "on Debian: apt-get install --no-install-recommends prometheus prometheus-alertmanager\n"
    )


def test_a_taken_port_is_said_with_the_option_that_changes_it() -> None:
    with free_ports() as ports:
        told = run_to_end(*options(ports))
    assert told.returncode == 1
    assert told.stderr == (
        f"port {ports['service']} is in use; choose another: python -m deploy.stack --service-port PORT\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", "prometheus.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=lambda command: command[0],
)
def test_the_configuration_is_valid_and_names_no_place(tmp_path: Path, command: tuple[str, ...]) -> None:
    write_configuration(tmp_path, service="127.0.0.1:1", alertmanager="127.0.0.1:2", receiver_url="http://127.0.0.1:3/")

    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert str(tmp_path) not in (tmp_path / command[-1]).read_text()
    assert {file.name: file.read_text() for file in (tmp_path / "urls").iterdir()} == {
        name: f"http://127.0.0.1:3/{name}" for name in ("pages", "tickets", "watchdog")
    }


def test_a_notification_is_a_line_for_each_alert() -> None:
    labels = {"alertname": "TidegatePoolFrozen", "severity": "warning", "pool": "sonnet-5-5", "job": "tidegate"}
    alerts = [{"status": "firing", "labels": labels}, {"status": "resolved", "labels": labels}]
    assert as_lines("tickets", {"alerts": alerts}) == [
        "alert to tickets: firing TidegatePoolFrozen (warning sonnet-5-5)",
        "alert to tickets: resolved TidegatePoolFrozen (warning sonnet-5-5)",
    ]


def test_the_receiver_prints_the_alerts_that_it_receives(capsys: pytest.CaptureFixture[str]) -> None:
    body = b'{"alerts":[{"status":"firing","labels":{"alertname":"Watchdog","severity":"none"}}]}'
    with printing_receiver() as url:
        request = urllib.request.Request(f"{url}watchdog", body)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - ours
            assert answer.status == 204
    assert capsys.readouterr().out == "alert to watchdog: firing Watchdog (none)\n"


def test_a_program_that_ends_is_named_with_its_last_words_and_takes_the_others_along(tmp_path: Path) -> None:
    lasting = Program("lasting", ("sleep", "60"))
    broken = Program(
        "broken", (sys.executable, "-c", "print('no luck'); raise SystemExit(3)"), ready_url="http://127.0.0.1:1/"
    )
    before = children(os.getpid())
    with pytest.raises(StackError, match=r"^broken ended with code 3\nno luck$"), running([lasting, broken], tmp_path):
        pytest.fail("began without a program that is not ready")
    assert children(os.getpid()) == before


def test_without_its_environment_there_is_no_collector_and_the_command_is_named(tmp_path: Path) -> None:
    expected = f"{tmp_path} is not installed; install it with: make .tools/stack/.installed"
    assert why_missing(tmp_path) == expected
    fake_collector(tmp_path, "exit 0")  # an installation that did not finish
    assert why_missing(tmp_path) == expected


def test_a_collector_without_its_library_is_said_with_the_package(tmp_path: Path) -> None:
    problem = "rotel-agent: error while loading shared libraries: libpython3.13.so.1.0"
    fake_collector(tmp_path, f"echo '{problem}' >&2; exit 127")
    (tmp_path / ".installed").touch()
    assert why_missing(tmp_path) == f"{problem}; on Debian: apt-get install --no-install-recommends libpython3.13"


def test_all_of_it_starts_works_and_ends(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--tools", str(tmp_path / "none")) as (ports, started, output):
        wait_for(output, "frozen pool")  # after the flood: calls were made
        assert len(children(started)) == 5
        metrics = read(f"http://127.0.0.1:{ports['service']}/metrics").decode()
    succeeded = r'^tidegate_requests_total\{caller="(?:web|search|nightly)",outcome="ok".* [1-9]'
    assert re.search(succeeded, metrics, re.MULTILINE)
    assert "  traces        none: " in output.read_text()


@pytest.mark.clients
@pytest.mark.timeout(600)
def test_an_exemplar_of_prometheus_leads_to_its_trace_in_the_trace_view(tmp_path: Path) -> None:
    with running_stack(tmp_path, "--tools", str(stack_tools())) as (ports, started, output):
        wait_for(output, "frozen pool")
        assert len(children(started)) == 7
        view = f"http://127.0.0.1:{ports['traces']}"
        exemplars = f"http://127.0.0.1:{ports['prometheus']}/api/v1/query_exemplars?query=tidegate_request_duration_seconds_bucket"
        common: set[str] = set()
        deadline = time.monotonic() + TELEMETRY_SECONDS
        while not common:
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(1)
            found = json.loads(read(exemplars))["data"]
            stored = {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
            # Only whole traces of calls that were sent: a refused call has no span of an attempt.
            shown = {trace_id for trace_id, names in traces_of(view).items() if {"tidegate.acquire", "POST"} <= names}
            common = stored & shown
        assert b"<html" in read(f"{view}/redirects/traces/{common.pop()}")
        for signal_name in ("traces", "metrics", "logs"):
            wait_for(logs(output) / "collector.log", f"Received {signal_name}")


@contextmanager
def running_stack(tmp_path: Path, *arguments: str) -> Iterator[tuple[dict[str, int], int, Path]]:
    """Yields the ports, the process id and the output of a stack, which must then end with all of its programs."""
    with free_ports() as ports:
        pass
    output = tmp_path / "output.txt"
    command = [sys.executable, "-m", "deploy.stack", *options(ports), "--phase-seconds", "1", *arguments]
    started: list[int] = []
    with output.open("wb") as stream:
        stack = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield ports, stack.pid, output
        started = children(stack.pid)
    finally:
        stack.send_signal(signal.SIGINT)
        code = stack.wait(timeout=PATIENCE_SECONDS)
    assert code == 0, output.read_text()
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert not logs(output).exists()


def fake_collector(tools: Path, script: str) -> None:
    program = tools / "lib/python3.13/site-packages/rotel/rotel-agent"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def logs(output: Path) -> Path:
    found = re.search(r"^  logs +(\S+)$", output.read_text(), re.MULTILINE)
    assert found
    return Path(found[1])


def traces_of(view: str) -> dict[str, set[str]]:
    """The names of the spans of each trace, by trace id; empty until the view has started and received one."""
    try:
        found = json.loads(read(f"{view}/v1/projects/tidegate/traces?limit=1000&include_spans=true"))
    except OSError:
        return {}
    return {each["trace_id"]: {span["name"] for span in each["spans"]} for each in found["data"]}


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - ours
        body: bytes = answer.read()
    return body


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(output: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)
