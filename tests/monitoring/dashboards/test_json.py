"""The JSON that Grafana reads is built from the Python beside it, complete, and in good order."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.project import ROOT
from tidegate.core.domain.cause import Cause
from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Board
from tidegate.monitoring.dashboards.boards import BOARDS, as_text
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW, SLO
from tidegate.observe.metrics import thresholds
from tidegate.observe.metrics.labels import ATTEMPT_STATUSES, REQUEST_OUTCOMES, RETRY_REASONS, WORKFLOW_OUTCOMES

_FOLDER = ROOT / "dashboards/json"
_EACH = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.link.uid)


def _panels(board: Board) -> list[dict[str, Any]]:
    return [panel for panel in board.json()["panels"] if panel["type"] != "row"]


def _values_of(name: str, document: Any) -> Iterator[Any]:
    """Every value under a key, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == name:
                yield value
            yield from _values_of(name, value)
    elif isinstance(document, list):
        for value in document:
            yield from _values_of(name, value)


def _links(board: Board) -> list[dict[str, str]]:
    return [*itertools.chain.from_iterable(_values_of("links", board.json()["panels"]))]


@_EACH
def test_the_json_is_what_the_python_builds(board: Board) -> None:
    path = _FOLDER / f"{board.link.uid}.json"
    assert path.read_text(encoding="utf-8") == as_text(board), "out of date: run python -m dashboards"


def test_there_are_no_other_files() -> None:
    assert sorted(path.stem for path in _FOLDER.iterdir()) == sorted(board.link.uid for board in BOARDS)


def test_there_are_five_and_their_addresses_never_change() -> None:
    assert [board.link.uid for board in BOARDS] == [
        "tidegate-overview",
        "tidegate-limiter",
        "tidegate-callers",
        "tidegate-models",
        "tidegate-slo",
    ]
    assert [board.link for board in BOARDS] == [OVERVIEW, LIMITER, CALLERS, MODELS, SLO]


@_EACH
def test_each_panel_says_what_it_shows_and_in_which_unit(board: Board) -> None:
    assert board.question.endswith("?")
    for panel in _panels(board):
        assert panel["title"]
        assert len(panel["description"]) >= 30, panel["title"]
        assert panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        assert panel["targets"], panel["title"]


@_EACH
def test_titles_of_narrow_panels_are_short_enough_to_be_read(board: Board) -> None:
    long = [panel["title"] for panel in _panels(board) if panel["gridPos"]["w"] <= 4 and len(panel["title"]) > 15]
    assert long == []


@_EACH
def test_panel_ids_are_unique(board: Board) -> None:
    identifiers = [panel["id"] for panel in board.json()["panels"]]
    assert len(set(identifiers)) == len(identifiers)


@_EACH
def test_no_panel_covers_another_or_leaves_the_page(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board.json()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells


@_EACH
def test_no_data_source_is_fixed(board: Board) -> None:
    assert {source["uid"] for source in _values_of("datasource", board.json())} == {"${datasource}"}


@_EACH
def test_variables_choose_all_at_first_and_match_what_lacks_the_label(board: Board) -> None:
    source, *filters = (each for each in board.json()["templating"]["list"] if each["type"] != "constant")
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    assert [variable["name"] for variable in filters][:2] == ["job", "instance"]
    for variable in filters:
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["current"]["value"] == ["$__all"]


@_EACH
def test_each_variable_is_used_and_each_used_one_is_there(board: Board) -> None:
    offered = {variable["name"] for variable in board.json()["templating"]["list"]} - {"datasource", "runbooks"}
    used = set(
        re.findall(
            r'=~"\$(\w+)"',
            json.dumps([query.expr for panel in board.panels for query in panel.queries]).replace('\\"', '"'),
        )
    )
    assert used == offered


@_EACH
def test_each_link_leads_to_one_of_the_dashboards_and_keeps_the_time(board: Board) -> None:
    known = {board.link.uid for board in BOARDS}
    for link in _links(board):
        if link["title"] == "Runbook":
            continue
        found = re.match(r"/d/([\w-]+)\?", link["url"])
        assert found, link
        assert found[1] in known
        assert "${__url_time_range}" in link["url"]
    for panel in _panels(board):
        assert panel["links"], panel["title"]


@_EACH
def test_a_link_by_a_label_filters_what_its_dashboard_offers(board: Board) -> None:
    offered = {each.link.uid: {item["name"] for item in each.json()["templating"]["list"]} for each in BOARDS}
    for link in _links(board):
        if link["title"] == "Runbook":
            continue
        uid = link["url"].removeprefix("/d/").split("?")[0]
        assert set(re.findall(r"var-(\w+)=", link["url"])) <= offered[uid], link


@_EACH
def test_a_link_by_a_label_keeps_all_other_variables(board: Board) -> None:
    offered = {item["name"] for item in board.json()["templating"]["list"]} - {"runbooks"}
    for link in _links(board):
        own = re.search(r"var-(\w+)=", link["url"])
        if own:
            kept = re.findall(r"\$\{(\w+):queryparam}", link["url"])
            assert set(kept) == offered - {own[1]}, link


@_EACH
def test_thresholds_are_the_numbers_of_the_alerts(board: Board) -> None:
    numbers = {value for name, value in vars(thresholds).items() if name.isupper() and isinstance(value, int | float)}
    numbers |= {burn.factor for burn in thresholds.BURN_WINDOWS}
    # 0 and 1: states of a timeline, a budget that is spent, a share of a factor that is reached.
    numbers |= {0, 1, 2, 3, 4}
    for steps in _values_of("steps", [panel["fieldConfig"] for panel in _panels(board)]):
        assert {step["value"] for step in steps} - {None} <= numbers


def test_every_cause_reason_and_outcome_has_a_colour_and_none_but_ok_is_that_of_good() -> None:
    for colours, names in (
        (units.CAUSES, Cause),
        (units.RETRIES, RETRY_REASONS),
        (units.OUTCOMES, REQUEST_OUTCOMES),
        (units.WORKFLOW_OUTCOMES, WORKFLOW_OUTCOMES),
        (units.FAILURES, [status for status in ATTEMPT_STATUSES if re.match("429|5|error", status)]),
    ):
        assert colours.keys() == set(names)
        assert len(set(colours.values())) == len(names)
        assert not [name for name, colour in colours.items() if "green" in colour and name != "ok"]


@_EACH
def test_grafana_s_own_thresholds_never_show(board: Board) -> None:
    for panel in _panels(board):
        if panel["type"] != "heatmap":
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


def test_a_table_or_graph_by_caller_is_bounded() -> None:
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                if re.search(r"\bby \([^)]*\bcaller\b", query.expr) and "ALERTS" not in query.expr:
                    assert "topk(" in query.expr, panel.title


@_EACH
def test_looking_costs_little(board: Board) -> None:
    document = board.json()
    assert document["refresh"] == "30s"
    assert len(document["panels"]) <= 30


def test_the_readme_shows_every_dashboard() -> None:
    readme = (ROOT / "dashboards/README.md").read_text(encoding="utf-8")
    pictures = [ROOT / "dashboards" / name for name in re.findall(r"!\[[^]]*]\((\S+)\)", readme)]
    assert len([each for each in pictures if each.parent.name == "pictures"]) == len(BOARDS)
    assert sorted(pictures) == sorted((ROOT / "dashboards/pictures").rglob("*.png"))
    assert all(0 < picture.stat().st_size < 150_000 for picture in pictures)
    for board in BOARDS:
        assert f"| {board.link.title} | `{board.link.uid}` | {board.question} |" in readme
