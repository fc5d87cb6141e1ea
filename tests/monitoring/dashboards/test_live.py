"""Every query of every panel, asked of a real Prometheus that scrapes the real service under a lively load."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from support.project import ROOT
from support.prometheus import Prometheus, as_asked, prometheus
from support.service_process import running
from tidegate.monitoring.dashboards.board import Board
from tidegate.monitoring.dashboards.boards import BOARDS
from tidegate.monitoring.dashboards.content.replicas import REPLICAS_ROW
from tidegate.monitoring.dashboards.queries import Query
from tidegate.monitoring.dashboards.variables import FILTERS, filter_variable
from tidegate.monitoring.rules.files import rule_files
from tidegate.monitoring.rules.rule import Installation

_STACK = ROOT / "deploy/stack"
_PHASE_SECONDS = "2.5"
"""Eight acts: 20 seconds of load."""
_BUDGETS = """
[[budgets]]
name = "all"
limit = 0.001
on_exceed = "warn"

[[budgets]]
name = "tokens"
limit = 1_000
unit = "tokens"
on_exceed = "warn"
"""
_AFTERWARDS_SECONDS = 4
"""Recording rules and alerts come a few evaluations after the samples."""

_EMPTY: dict[tuple[str, str], str] = {
    ("Calls that spend the error budget", "{{pool}} {{cause}}"): "Tidegate itself refused nobody without need",
    ("Workflows by outcome", "fallback: {{reason}}"): "no workflow needed the simpler request",
    ("Calls by caller", "others"): "there are fewer callers than are shown by name",
    ("Tokens by caller", "others"): "likewise",
    ("Spend per hour, by caller", "others"): "likewise",
    ("Waiting, by caller and limit", "others"): "likewise",
    ("Waits without admission, by caller", "others"): "likewise",
    ("Waits without admission, by caller", "{{caller}}"): "every request that waited was admitted",
    ("Unsuccessful calls", "others"): "there are fewer kinds of failures than are shown by name",
    ("Refusals by caller and cause", "others"): "likewise",
    ("Anomalies", "{{kind}}"): "no lease went on for longer than it may",
    **{
        (panel.title, query.legend): "one process alone shares no store"
        for panel in REPLICAS_ROW.panels
        for query in panel.queries
    },
}
"""Queries, by panel and legend, that find nothing though all is well, and why."""

_BY_CHANCE: dict[tuple[str, str], str] = {
    ("Waiting, by caller and limit", "{{caller}}: {{limit}}"): "seen only if somebody waits at the time of a scrape",
    (
        "Wait until admitted, p95 by caller",
        "{{caller}}",
    ): "seen only if waits end before the last scrapes of so short a load",
}
"""Queries that find something in most runs, and why not in all."""

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(120)]


def _rare_calls(service: str) -> None:
    """What the load may not come to in so short a time: a workflow, a batch, and a call that no repetition helps."""
    message = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    _post(f"{service}/api/workflows/generate", {"prompt": "When an order arrives, check stock"})
    batch = _post(f"{service}/v1/messages/batches", {"requests": [{"custom_id": "a", "params": message}]})
    time.sleep(1.5)  # the simulator's batches end after a second
    _send(urllib.request.Request(f"{service}/v1/messages/batches/{batch['id']}/results", headers=_FIELDS))  # noqa: S310
    with pytest.raises(urllib.error.HTTPError):
        _post(
            f"{service}/v1/messages",
            message,
            {"x-simulator-fault": "overloaded", "x-tidegate-timeout-seconds": "0.3"},
        )


def _no_http(service: str) -> None:
    """A head that is none."""
    host, port = service.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 400 ")


_FIELDS = {"content-type": "application/json", "x-api-key": "web-key", "anthropic-version": "2023-06-01"}


def _post(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {**_FIELDS, **(headers or {})})  # noqa: S310 - ours
    return json.loads(_send(request))


def _send(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
        body: bytes = answer.read()
    return body


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the traces of a load that is over."""
    folders = tmp_path_factory.mktemp
    limits = ("--requests-per-minute", "90", "--input-tokens-per-minute", "20000", "--output-tokens-per-minute", "9000")
    with running(folders("simulator"), "simulator", *limits) as simulator:
        home = folders("service")
        (home / "tidegate.toml").write_text((_STACK / "tidegate.toml").read_text() + _BUDGETS)
        rules = folders("rules")
        files = {name: text for name, text in rule_files(Installation()).items() if ".e2e." in name}
        for name, text in files.items():
            (rules / name).write_text(text)
        with (
            running(
                home,
                "serve",
                ANTHROPIC_API_KEY="sk-ant-fake",
                TIDEGATE_UPSTREAM_URL=simulator.url,
                TIDEGATE_STATE_DIR=str(folders("state")),
            ) as service,
            prometheus(
                folders("prometheus"), service.url.removeprefix("http://"), [rules / name for name in files]
            ) as asked,
        ):
            _rare_calls(service.url)
            _no_http(service.url)
            where = ("--service", service.url, "--simulator", simulator.url)
            subprocess.run(
                [sys.executable, _STACK / "load.py", *where, "--phase-seconds", _PHASE_SECONDS, "--rounds", "1"],
                check=True,
                timeout=80,
                stdout=subprocess.DEVNULL,
            )
            time.sleep(_AFTERWARDS_SECONDS)
            yield asked


def test_the_usage_of_a_batch_is_in_the_books(asked: Prometheus) -> None:
    assert asked.ask(
        'increase(tidegate_tokens_total{pool="batches",caller="web",kind="output"}[60s]) > 0', last_seconds=60
    )


def _found(asked: Prometheus, query: Query) -> list[dict[str, Any]]:
    return asked.ask(as_asked(query.expr, interval="5s", time_range="60s"), last_seconds=60)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.link.uid)
def test_every_query_finds_something_and_nothing_infinite(asked: Prometheus, board: Board) -> None:
    silent = set()
    for panel in board.panels:
        for query in panel.queries:
            found = _found(asked, query)
            assert "Inf" not in {value for series in found for _, value in series["values"]}, panel.title
            if not found:
                silent.add((panel.title, query.legend))

    everything = {(panel.title, query.legend) for panel in board.panels for query in panel.queries}
    assert silent - _BY_CHANCE.keys() == everything & _EMPTY.keys()


_OFFERED = {
    "job": {"tidegate"},
    "pool": {"sonnet-5-5", "haiku-5-5", "default"},
    "model": {"claude-sonnet-5-5", "claude-haiku-5-5"},
    "caller": {"web", "search", "nightly", "default"},
}


@pytest.mark.parametrize("label", FILTERS)
def test_every_variable_offers_what_there_is(asked: Prometheus, label: str) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", filter_variable(label)["definition"])
    assert found
    series = asked.ask(f"count by ({label}) ({as_asked(found[1])})", last_seconds=60)
    offered = {each["metric"][label] for each in series}
    assert offered >= _OFFERED.get(label, set())
    assert offered
