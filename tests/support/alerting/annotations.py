"""Checks of an alert's annotations."""

import re
from collections.abc import Mapping

from tidegate.monitoring import RUNBOOKS_FOLDER
from tidegate.monitoring.dashboards.boards import BOARDS


def check_annotations(annotations: Mapping[str, str], labels: Mapping[str, str], most: str) -> None:
    """Check texts and links of an alert. `most` is the caller that it links to, if it has no such label."""
    name = labels["alertname"]
    assert annotations["runbook_url"].endswith(f"/{name}.md")
    assert (RUNBOOKS_FOLDER / f"{name}.md").exists()
    assert annotations["summary"].endswith(".")
    assert not re.search(r"{{|<no value>|<error|NaN", annotations["description"]), annotations
    dashboard = re.search(r"/d/([\w-]+)\?(.+)", annotations["dashboard_url"])
    assert dashboard, annotations
    assert dashboard[1] in {board.link.uid for board in BOARDS}
    filters = dict(part.split("=", 1) for part in dashboard[2].split("&"))
    assert filters["var-job"] == "tidegate"
    for variable, value in filters.items():
        wanted = labels.get(variable.removeprefix("var-"), most if variable == "var-caller" else None)
        assert value == wanted, annotations
    # The link selects the pool of the alert.
    assert filters.get("var-pool") == labels.get("pool")
