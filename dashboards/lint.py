"""`python -m dashboards.lint`: checks the files of `json/` by the main rules of Grafana's dashboard-linter.

The linter itself is a Go program, of which no package is at hand. The rules have its names.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("json")
_SOURCE = "${datasource}"
_SELECTOR = re.compile(r"\b(?!ALERTS)([a-z_]+(?:_[a-z]+)+){([^}]*)}")
_RANGE = re.compile(r"\b(?:rate|irate)\([^\[\]]*\[([^\]]+)\]")
_FIXED = {("Spend per hour, by caller", "86400s"): "the average of the past day, which the alert compares with"}
"""Windows that are fixed on purpose, and why."""
_WITHOUT_UNIT = {"row", "text", "state-timeline", "heatmap", "table"}


def faults_of(board: dict[str, Any]) -> Iterator[str]:
    """The faults of a dashboard, each with the name of its rule."""
    variables = board["templating"]["list"]
    if not any(each["type"] == "datasource" and each["query"] == "prometheus" for each in variables):
        yield "template-datasource-rule: there is no variable for the data source"
    for name in ("job", "instance"):
        if not any(each["name"] == name and each.get("multi") and each.get("includeAll") for each in variables):
            yield f"template-{name}-rule: there is no variable {name} with several values and All"
    if board.get("editable", False):
        yield "uneditable-dashboard-rule: it is editable"
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield from (f"{panel['title'] or panel['id']}: {fault}" for fault in _faults_of_panel(panel))


def _faults_of_panel(panel: dict[str, Any]) -> Iterator[str]:
    if not panel["title"] or not panel.get("description"):
        yield "panel-title-description-rule: title or description is missing"
    if panel["type"] not in _WITHOUT_UNIT and not panel["fieldConfig"]["defaults"].get("unit"):
        yield "panel-units-rule: there is no unit"
    if not panel.get("fieldConfig", {}).get("defaults", {}).get("noValue"):
        yield "panel-no-value-rule: an empty panel says nothing"
    for source in (panel, *panel["targets"]):
        if source["datasource"]["uid"] != _SOURCE:
            yield "panel-datasource-rule: the data source is fixed"
    for target in panel["targets"]:
        for name, conditions in _SELECTOR.findall(target["expr"]):
            if "job=~" not in conditions or "instance=~" not in conditions:
                yield f"target-job-rule, target-instance-rule: {name} lacks a filter"
        yield from (
            f"target-rate-interval-rule: a rate over {window}"
            for window in _RANGE.findall(target["expr"])
            if window not in ("$__rate_interval", "$__range") and (panel["title"], window) not in _FIXED
        )


def main() -> None:
    """Prints all faults. Exits with status 1 if there are any."""
    faults = [
        f"{path.name}: {fault}"
        for path in sorted(_FOLDER.glob("*.json"))
        for fault in faults_of(json.loads(path.read_text(encoding="utf-8")))
    ]
    print("\n".join(faults) if faults else "Grafana dashboards: no faults")  # noqa: T201 - the output of a command
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
