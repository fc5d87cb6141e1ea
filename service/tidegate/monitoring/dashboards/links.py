"""Links from panels to other dashboards, which keep the time range and filter by the clicked value."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CALLERS", "LIMITER", "MODELS", "OVERVIEW", "RUNBOOK", "SLO", "Link", "RunbookLink", "with_variables"]

_VARIABLES: Final = "@variables"
"""Stands for the variables of the dashboard that a link is on."""
_KEPT: Final = f"${{datasource:queryparam}}&{_VARIABLES}&${{__url_time_range}}"
_FILTERED: Final = re.compile(rf'\?var-(?P<label>\w+)=[^"]*?{_VARIABLES}')


@dataclass(frozen=True, slots=True)
class Link:
    """A link to a dashboard.

    Attributes:
        uid: the dashboard's uid, which never changes, because alerts and bookmarks contain it.
        title: the dashboard's title.
        label: label of the series to filter by: `pool`, `model` or `caller`; empty keeps all variables instead.
    """

    uid: str
    title: str
    label: str = ""

    def by(self, label: str) -> "Link":
        """The link, filtered by the value of this label."""
        return Link(self.uid, f"{self.title}: this {label}", label)

    def of_panel(self) -> dict[str, Any]:
        """The link in the panel's menu."""
        return {
            "title": self.title.split(":", maxsplit=1)[0],
            "url": f"/d/{self.uid}?${{__all_variables}}&${{__url_time_range}}",
        }

    def of_series(self) -> dict[str, Any]:
        """The link of a value in a graph."""
        if not self.label:
            return self.of_panel()
        return self._filtered("${__field.labels." + self.label + "}")

    def of_cell(self) -> dict[str, Any]:
        """The link of a table cell, filtered by the cell's text."""
        return self._filtered("${__value.text}")

    def _filtered(self, value: str) -> dict[str, Any]:
        return {"title": self.title, "url": f"/d/{self.uid}?var-{self.label}={value}&{_KEPT}"}


@dataclass(frozen=True, slots=True)
class RunbookLink:
    """A link from the name of an alert to its runbook."""

    def of_cell(self) -> dict[str, Any]:
        """The link of a table cell."""
        return {"title": "Runbook", "url": "${runbooks}/${__value.text}.md", "targetBlank": True}


def with_variables(panels: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """Panels whose links keep these variables of their dashboard, except the one that a link sets itself.

    `${__all_variables}` would keep the other values of that one, too.
    """

    def kept(found: re.Match[str]) -> str:
        parameters = "&".join(f"${{{name}:queryparam}}" for name in names if name != found["label"])
        return found[0].replace(_VARIABLES, parameters)

    filled: list[dict[str, Any]] = json.loads(_FILTERED.sub(kept, json.dumps(panels)))
    return filled


RUNBOOK: Final = RunbookLink()
OVERVIEW: Final = Link("tidegate-overview", "Overview")
LIMITER: Final = Link("tidegate-limiter", "Limiter")
CALLERS: Final = Link("tidegate-callers", "Callers")
MODELS: Final = Link("tidegate-models", "Models and upstream")
SLO: Final = Link("tidegate-slo", "SLO")
