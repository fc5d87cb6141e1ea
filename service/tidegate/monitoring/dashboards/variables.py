"""The variables of every dashboard: the data source, and label filters."""

from typing import Any, Final

from tidegate.observe.metrics import catalogue

__all__ = ["DATASOURCE", "FILTERS", "datasource_variable", "filter_variable", "runbooks_variable"]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
"""The data source chosen in the variable."""

FILTERS: Final = ("job", "instance", "pool", "model", "caller")
"""Labels to filter by, in the order of the variables."""

_SOURCES: Final = {
    "job": catalogue.BUILD_INFO.name,
    "instance": f'{catalogue.BUILD_INFO.name}{{job=~"$job"}}',
    # Refusals exist at 0 for every pool with a label, also without traffic.
    "pool": f'{catalogue.REFUSED.name}{{job=~"$job"}}',
    "model": f'{catalogue.UPSTREAM_ATTEMPTS.name}{{job=~"$job"}}',
    "caller": f'{catalogue.REQUESTS.name}{{job=~"$job"}}',
}


def datasource_variable() -> dict[str, Any]:
    """The variable for the Prometheus data source."""
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def runbooks_variable(url: str) -> dict[str, Any]:
    """The hidden variable with the base URL of runbooks."""
    current = {"text": url, "value": url}
    return {"name": "runbooks", "type": "constant", "query": url, "current": current, "hide": 2, "skipUrlSync": True}


def filter_variable(label: str) -> dict[str, Any]:
    """A variable for several values of a label, or all. All includes series without the label."""
    query = f"label_values({_SOURCES[label]}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
