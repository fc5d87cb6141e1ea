"""The dashboards keep the rules of the linter, and the linter finds what breaks them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.lint import faults_of
from support.project import ROOT

FILES = sorted((ROOT / "dashboards/json").glob("*.json"))
Board = dict[str, Any]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_faults(path: Any) -> None:
    assert [*faults_of(json.loads(path.read_text()))] == []


def first(board: Board) -> Board:
    panel: Board = next(panel for panel in board["panels"] if panel["type"] == "stat")
    return panel


@pytest.mark.parametrize(
    ("rule", "break_it"),
    [
        ("template-datasource-rule", lambda board: board["templating"]["list"].pop(0)),
        ("template-job-rule", lambda board: board["templating"]["list"].clear()),
        ("uneditable-dashboard-rule", lambda board: board.update(editable=True)),
        ("panel-title-description-rule", lambda board: first(board).update(title="")),
        ("panel-units-rule", lambda board: first(board)["fieldConfig"]["defaults"].pop("unit")),
        ("panel-no-value-rule", lambda board: first(board)["fieldConfig"]["defaults"].pop("noValue")),
        ("panel-datasource-rule", lambda board: first(board)["datasource"].update(uid="mine")),
        ("target-job-rule", lambda board: first(board)["targets"][0].update(expr='tidegate_in_flight{pool="p"}')),
        ("target-rate-interval-rule", lambda board: first(board)["targets"][0].update(expr="rate(x[5m])")),
    ],
)
def test_each_rule_is_checked(rule: str, break_it: Callable[[Board], object]) -> None:
    board = json.loads((ROOT / "dashboards/json/tidegate-overview.json").read_text())
    break_it(board)
    assert any(rule in fault for fault in faults_of(board))
