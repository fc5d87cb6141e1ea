"""Links from panels to other dashboards, which keep the time range and filter by the clicked value."""

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CALLERS", "LIMITER", "MODELS", "OVERVIEW", "RUNBOOK", "SLO", "Link", "RunbookLink"]

_KEPT: Final = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"


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


RUNBOOK: Final = RunbookLink()
OVERVIEW: Final = Link("tidegate-overview", "Overview")
LIMITER: Final = Link("tidegate-limiter", "Limiter")
CALLERS: Final = Link("tidegate-callers", "Callers")
MODELS: Final = Link("tidegate-models", "Models and upstream")
SLO: Final = Link("tidegate-slo", "SLO")
