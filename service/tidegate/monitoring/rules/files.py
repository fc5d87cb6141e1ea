"""The files that Prometheus reads, and the shortened rules with which a test need not wait for hours."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tidegate.monitoring.rules.limits import LIMITS
from tidegate.monitoring.rules.recording import RECORDINGS
from tidegate.monitoring.rules.rule import Group, Places, as_yaml, duration
from tidegate.monitoring.rules.service import service
from tidegate.monitoring.rules.slo import SLOS
from tidegate.monitoring.rules.upstream import UPSTREAM

__all__ = ["alert_groups", "rule_files", "shortened"]

_HEADER: Final = "# Built by `python -m deploy.prometheus`: do not edit, a test compares.\n"
_RANGE: Final = re.compile(r"(?<=[\[ ])(\d+)([smhd])(?=[\])\n]|$)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PERIODS: Final = ("for", "keep_firing_for")


def alert_groups(places: Places) -> tuple[Group, ...]:
    """All alerts."""
    return (service(places.job), UPSTREAM, LIMITS, SLOS)


def rule_files(places: Places) -> dict[str, str]:
    """Names and texts of all files of rules. Those with `e2e` in their name are for tests only."""
    documents = {
        "tidegate-recording": _document(RECORDINGS, places),
        "tidegate-alerts": _document(alert_groups(places), places),
    }
    return {f"{name}.yml": _HEADER + as_yaml(document) for name, document in documents.items()} | {
        f"{name}.e2e.yml": _HEADER + as_yaml(shortened(document)) for name, document in documents.items()
    }


def shortened(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same rules with every range a 60th, 4 to 30 s, and every `for` a 300th, at most 2 s, of what it was."""
    return {"groups": [group | {"rules": [_shorter(rule) for rule in group["rules"]]} for group in document["groups"]]}


def _document(groups: tuple[Group, ...], places: Places) -> dict[str, Any]:
    return {"groups": [{"name": group.name, "rules": [rule.rule(places) for rule in group.rules]} for group in groups]}


def _shorter(rule: Mapping[str, Any]) -> dict[str, Any]:
    periods = {name: f"{min(2, _seconds(rule[name]) // 300)}s" for name in _PERIODS if name in rule}
    return {**rule, "expr": _RANGE.sub(_shorter_range, rule["expr"]), **periods}


def _shorter_range(match: re.Match[str]) -> str:
    return duration(max(4, min(30, _seconds(match.group()) // 60)))


def _seconds(text: str) -> int:
    return int(text[:-1]) * _SECONDS[text[-1]]
