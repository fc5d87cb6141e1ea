"""The variables at the top of every dashboard: which data source, and which part of what it holds."""

from typing import Any, Final

from tidegate.observe.metrics import catalogue

__all__ = ["DATASOURCE", "FILTERS", "datasource_variable", "filter_variable"]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
"""No data source is fixed: whoever looks chooses one."""

FILTERS: Final = ("job", "instance", "pool", "model", "caller")
"""Labels to filter by, in the order in which they are offered."""

_SOURCES: Final = {
    "job": catalogue.BUILD_INFO.name,
    "instance": f'{catalogue.BUILD_INFO.name}{{job=~"$job"}}',
    # Refusals exist at 0 for every pool that has a label, whether it has traffic or not.
    "pool": f'{catalogue.REFUSED.name}{{job=~"$job"}}',
    "model": f'{catalogue.UPSTREAM_ATTEMPTS.name}{{job=~"$job"}}',
    "caller": f'{catalogue.REQUESTS.name}{{job=~"$job"}}',
}


def datasource_variable() -> dict[str, Any]:
    """Which Prometheus is asked."""
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def filter_variable(label: str) -> dict[str, Any]:
    """Several values of a label, or all; all matches series without the label, too."""
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
