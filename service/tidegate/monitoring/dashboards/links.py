"""Where a panel leads: another dashboard, for the same time range and what was clicked on."""

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CALLERS", "LIMITER", "MODELS", "OVERVIEW", "SLO", "Link"]

_KEPT: Final = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"


@dataclass(frozen=True, slots=True)
class Link:
    """A way to one of the dashboards.

    Attributes:
        uid: of the dashboard; never changes, because alerts and bookmarks hold it.
        title: what is found there.
        label: the series' label that filters there: `pool`, `model` or `caller`; "" passes on every variable instead.
    """

    uid: str
    title: str
    label: str = ""

    def by(self, label: str) -> "Link":
        """The same way, for the value of this label only."""
        return Link(self.uid, f"{self.title}: this {label}", label)

    def of_panel(self) -> dict[str, Any]:
        """The link in the panel's menu."""
        return {
            "title": self.title.split(":", maxsplit=1)[0],
            "url": f"/d/{self.uid}?${{__all_variables}}&${{__url_time_range}}",
        }

    def of_series(self) -> dict[str, Any]:
        """The link that a click on a value shows."""
        if not self.label:
            return self.of_panel()
        return self._filtered("${__field.labels." + self.label + "}")

    def of_cell(self) -> dict[str, Any]:
        """The link of a cell whose text is the value to filter by."""
        return self._filtered("${__value.text}")

    def _filtered(self, value: str) -> dict[str, Any]:
        return {"title": self.title, "url": f"/d/{self.uid}?var-{self.label}={value}&{_KEPT}"}


OVERVIEW: Final = Link("tidegate-overview", "Overview")
LIMITER: Final = Link("tidegate-limiter", "Limiter")
CALLERS: Final = Link("tidegate-callers", "Callers")
MODELS: Final = Link("tidegate-models", "Models and upstream")
SLO: Final = Link("tidegate-slo", "SLO")
