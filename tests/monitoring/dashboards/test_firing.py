"""The first table of the Overview shows the cause of a fault, and nothing that another alert explains."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.prometheus import as_asked
from support.promtool import check_values
from tidegate.core.domain.cause import Cause
from tidegate.monitoring.dashboards.content.firing import FIRING_ALERTS
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation

_ALERTS = [
    rule
    for group in alert_groups(Installation())
    for rule in group.rules
    if isinstance(rule, Alert) and rule.name.startswith("Tidegate")
]


def _mappings(column: str) -> list[dict[str, Any]]:
    (found,) = (
        entry["value"]
        for override in FIRING_ALERTS.overrides
        for entry in override["properties"]
        if override["matcher"]["options"] == column and entry["id"] == "mappings"
    )
    assert isinstance(found, list)
    return found


def _who(key: str) -> str:
    """The text that Grafana shows for a value of the column: that of the first pattern that matches."""
    return next(
        str(each["options"]["result"]["text"])
        for each in _mappings("Who")
        if re.search(each["options"]["pattern"], key)
    )


@pytest.mark.parametrize(
    ("key", "who"),
    [
        ("TidegateKeyRejected   ", "Our key"),
        ("TidegateSpendCapReached   ", "Our key"),
        ("TidegateModelNotFound   ", "Claude"),
        ("TidegateUpstreamHangs   ", "Claude"),
        ("TidegateUpstreamErrors   status 503", "Claude"),
        ("TidegateUpstreamErrors   no connection, or broken off", "Claude or network"),
        ("TidegateLimitFell   ", "Claude"),
        ("TidegateAnomalies  usage ", "Claude"),
        ("TidegateAnomalies  clock ", "Us"),
        ("TidegateDown   ", "Us"),
        ("TidegateDegraded   ", "Us"),
        ("TidegateLimitMismatch   ", "Us"),
        ("TidegateQueueGrowing   ", "Callers"),
        ("TidegateRefusals deadline  caller search", "Callers"),
        ("TidegateRefusals unauthenticated  caller default", "Callers"),
        ("TidegateRefusals upstream_outage  caller web", "Claude"),
        ("TidegateRefusals upstream_credentials  caller web", "Our key"),
        ("TidegateRefusals store_unavailable  caller web", "Us"),
        ("TidegateAvailabilityBurn   Claude is overloaded (529)", "Claude"),
        ("TidegateAvailabilityBurn   Claude rejects the key of the service (401 or 403)", "Our key"),
        ("TidegateAvailabilityBurn   Claude cannot be reached, or breaks off responses", "Claude or network"),
        ("TidegateAvailabilityBurn   the shared store is lost", "Us"),
        ("TidegateAvailabilityBurn   responses break off", "Claude"),
        ("TidegateLatencyBurn   more is asked for than the quota allows", "Callers"),
    ],
)
def test_each_fault_has_an_origin(key: str, who: str) -> None:
    assert _who(key) == who


def test_each_alert_and_each_cause_of_refusals_is_a_sentence() -> None:
    (mapping,) = _mappings("What")
    keys = {f"{alert.name} {alert.severity} " for alert in _ALERTS}
    assert mapping["options"].keys() == {
        *keys,
        *(f"TidegateRefusals warning {cause}" for cause in Cause),
        "nothing",
    }


def _series(name: str, **labels: str) -> str:
    return f"{name}{_labels(job='tidegate', **labels)}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def _firing(name: str, severity: str, **labels: str) -> dict[str, str]:
    """The series of an alert that has been active since the first minute."""
    labels |= {"alertname": name, "severity": severity}
    return {_series("ALERTS", alertstate="firing", **labels): "1x60", _series("ALERTS_FOR_STATE", **labels): "60x60"}


_WATCHDOG = _firing("Watchdog", "none")


def _rows(tmp_path: Path, series: dict[str, str], rows: list[dict[str, str]], *, seconds: int = 3540) -> None:
    """Check the rows after an hour, by labels; each has lasted so many seconds."""
    (query,) = FIRING_ALERTS.queries
    check_values(tmp_path, series, {as_asked(query.expr): [(_labels(**row), seconds) for row in rows]})


def test_an_outage_is_one_row_with_its_cause(tmp_path: Path) -> None:
    pool = {"pool": "sonnet"}
    series = (
        _firing("TidegateKeyRejected", "critical", **pool)
        | _firing("TidegateAvailabilityBurn", "critical", window="6h", **pool)
        | _firing("TidegateRefusals", "warning", cause="upstream_credentials", **pool)
        | _WATCHDOG
        | {_series("tidegate_upstream_attempts_total", status="401", **pool): "0+1x60"}
    )
    row = {
        "who": "TidegateKeyRejected   status 401",
        "what": "TidegateKeyRejected critical ",
        "alertname": "TidegateKeyRejected",
        "severity": "critical",
        "about": "status 401        ",
    }
    _rows(tmp_path, series, [row | pool])


def test_no_alert_is_a_row_of_its_own(tmp_path: Path) -> None:
    """Unlike alerting that does not work."""
    _rows(tmp_path, _WATCHDOG, [{"what": "nothing"}], seconds=0)


def test_a_burn_says_why_and_refusals_say_whose(tmp_path: Path) -> None:
    """The windows of one objective are one row."""
    series = (
        _firing("TidegateAvailabilityBurn", "critical", window="6h", pool="sonnet")
        | _firing("TidegateAvailabilityBurn", "warning", window="3d", pool="sonnet")
        | _firing("TidegateRefusals", "warning", cause="deadline", pool="haiku")
        | {
            _series("tidegate_upstream_attempts_total", pool="sonnet", status="error"): "0+9x60",
            _series("tidegate_upstream_attempts_total", pool="sonnet", status="529"): "0+2x60",
            _series("tidegate_refused_total", pool="haiku", cause="deadline", caller="web"): "0+1x60",
            _series("tidegate_refused_total", pool="haiku", cause="deadline", caller="search"): "0+5x60",
        }
    )
    why = "Claude cannot be reached, or breaks off responses"
    burn = {
        "who": f"TidegateAvailabilityBurn   {why}",
        "what": "TidegateAvailabilityBurn critical ",
        "alertname": "TidegateAvailabilityBurn",
        "severity": "critical",
        "pool": "sonnet",
        "about": f"{why}        ",
    }
    refused = {
        "who": "TidegateRefusals deadline  caller search",
        "what": "TidegateRefusals warning deadline",
        "alertname": "TidegateRefusals",
        "severity": "warning",
        "pool": "haiku",
        "about": "caller search        ",
    }
    _rows(tmp_path, series, [burn, refused])


def test_a_spike_of_429s_names_the_limit_and_a_model_without_a_price_its_caller(tmp_path: Path) -> None:
    model = "claude-new"
    series = (
        _firing("TidegateRateLimitSpike", "warning", pool="sonnet")
        | _firing("TidegateUnpricedModel", "warning", model=model)
        | {
            _series("tidegate_rate_limited_total", pool="sonnet", dimension="requests"): "0+1x60",
            _series("tidegate_rate_limited_total", pool="sonnet", dimension="output_tokens"): "0+5x60",
            _series("tidegate_tokens_total", pool="new", model=model, caller="web", kind="output"): "0+5x60",
            _series("tidegate_tokens_total", pool="new", model=model, caller="search", kind="output"): "0+4x60",
            _series("tidegate_tokens_total", pool="new", model=model, caller="search", kind="input"): "0+4x60",
            _series("tidegate_tokens_total", pool="sonnet", model="claude-old", caller="web", kind="input"): "0+9x60",
        }
    )
    spike = {
        "who": "TidegateRateLimitSpike   limit of output_tokens",
        "what": "TidegateRateLimitSpike warning ",
        "alertname": "TidegateRateLimitSpike",
        "severity": "warning",
        "pool": "sonnet",
        "about": "limit of output_tokens        ",
    }
    unpriced = {
        "who": "TidegateUnpricedModel   caller search",
        "what": "TidegateUnpricedModel warning ",
        "alertname": "TidegateUnpricedModel",
        "severity": "warning",
        "about": f"caller search   {model}     ",
    }
    _rows(tmp_path, series, [spike, unpriced])


def test_a_budget_is_named_and_so_is_who_spends_most(tmp_path: Path) -> None:
    series = (
        _firing("TidegateBudgetUsedUp", "warning", budget="team-month")
        | _firing("TidegateSpendUnusual", "warning")
        | {
            _series("tidegate_cost_usd_total", model="m", caller="web"): "0+1x60",
            _series("tidegate_cost_usd_total", model="m", caller="search"): "0+3x60",
        }
    )
    used_up, unusual = (
        {
            "who": f"{name}   {explained}",
            "what": f"{name} warning ",
            "alertname": name,
            "severity": "warning",
            "about": about,
        }
        for name, explained, about in (
            ("TidegateBudgetUsedUp", "", "       budget team-month"),
            ("TidegateSpendUnusual", "caller search", "caller search        "),
        )
    )
    _rows(tmp_path, series, [used_up, unusual])
