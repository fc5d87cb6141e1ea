"""Reads a scenario from TOML. README.md of this package shows a complete file.

The tables are the fields of `Scenario`, and their keys the fields of the classes there. `[limits.<family>]` overrides
`[limits]` for one family.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from claude_simulator.checks import decode
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.requests.models import FAMILIES
from claude_simulator.scenarios.latency import LatencyDistribution
from claude_simulator.scenarios.scenario import Change, Competitor, HeaderOptions, Outage, Scenario, SpendCap

_TABLES: Final[Mapping[str, Any]] = {
    "limits": dict[str, Any],
    "fast_limits": FastLimits,
    "changes": tuple[Change, ...],
    "competitors": tuple[Competitor, ...],
    "outages": tuple[Outage, ...],
    "ramp": RampLimit,
    "spend_cap": SpendCap,
    "headers": HeaderOptions,
    "latency": LatencyDistribution,
}


def load_scenario(path: Path) -> Scenario:
    """Reads the scenario in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, or a field is unknown, missing or outside its range. The message names the file,
            the field, the value and what is allowed.
    """
    try:
        return scenario_from(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def scenario_from(document: Mapping[str, Any]) -> Scenario:
    """Builds a scenario from a parsed TOML document.

    Raises:
        ValueError: as `load_scenario`, without the file's name.
    """
    unknown = sorted(document.keys() - _TABLES.keys())
    if unknown:
        raise ValueError(f"{unknown[0]}: no such field; allowed are {', '.join(_TABLES)}")
    values = {name: decode(value, _TABLES[name], name) for name, value in document.items()}
    if "limits" in values:
        table = values["limits"]
        general = {key: value for key, value in table.items() if key not in FAMILIES}
        values["limits"] = decode(general, PoolLimits, "limits")
        values["limits_by_family"] = {
            family: decode(
                {**general, **decode(own, dict[str, Any], f"limits.{family}")}, PoolLimits, f"limits.{family}"
            )
            for family, own in table.items()
            if family in FAMILIES
        }
    return Scenario(**values)
