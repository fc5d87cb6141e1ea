"""Alertmanager's inhibitions as PromQL, so that a dashboard shows the alerts that people are told of."""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from tidegate.monitoring import ALERTMANAGER_FILE

__all__ = ["without_inhibited"]

_MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')
_FIRING: Final = 'job=~"$job",alertstate="firing"'


def without_inhibited(alerts: str, *added: str) -> str:
    """The alerts that no other firing alert inhibits.

    Args:
        alerts: series with the labels of `ALERTS`, with or without `alertstate`.
        added: further labels of these series.
    """
    rules = yaml.safe_load(ALERTMANAGER_FILE.read_text(encoding="utf-8"))["inhibit_rules"]
    inhibited = " or ".join(map(_inhibited, rules))
    return f"({alerts} unless ignoring ({', '.join(('alertstate', *added))}) ({inhibited}))"


def _inhibited(rule: dict[str, Any]) -> str:
    source, target = (_alerts(rule[f"{part}_matchers"]) for part in ("source", "target"))
    return f"{target} and on ({', '.join(rule['equal'])}) {source}"


def _alerts(matchers: list[str]) -> str:
    return f"ALERTS{{{','.join([_FIRING, *_conditions(matchers)])}}}"


def _conditions(matchers: list[str]) -> Iterator[str]:
    for matcher in matchers:
        found = _MATCHER.fullmatch(matcher)
        if found is None:
            raise ValueError(f'{ALERTMANAGER_FILE.name}: got the matcher {matcher}, allowed is name="value"')
        yield "".join((found[1], found[2], f'"{found[3]}"'))
