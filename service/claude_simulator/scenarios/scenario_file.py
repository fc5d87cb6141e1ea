"""Reads a scenario from TOML. README.md of this folder shows a whole file.

Tables: `[limits]` with `[limits.<family>]`, `[fast_limits]`, `[[changes]]`, `[[competitors]]`, `[[outages]]`, `[ramp]`,
`[spend_cap]`, `[headers]`, `[latency]`, `[lengths]`, `[[workload]]`; `duration_seconds` and `replicas` stand above
them. Keys are the fields of the dataclasses in `scenario.py`; what has a default may be left out.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.limits import FastLimits, PoolLimits, Refill
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.requests.models import FAMILIES
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.distributions import Choice, Constant, Distribution, Exponential, LogNormal, Uniform
from claude_simulator.scenarios.latency import LatencyDistribution
from claude_simulator.scenarios.scenario import (
    Change,
    Competitor,
    HeaderOptions,
    HeadersAt,
    Outage,
    Scenario,
    SpendCap,
    SpendCapKind,
)
from claude_simulator.scenarios.workload import Lengths, Workload, WorkloadKind

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Table = Mapping[str, Any]

_DISTRIBUTIONS: Final[Mapping[str, type[Uniform | Exponential | LogNormal | Choice]]] = {
    "uniform": Uniform,
    "exponential": Exponential,
    "lognormal": LogNormal,
    "choice": Choice,
}


def load_scenario(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no TOML, or a field is unknown, missing or outside its range. The message names the file and
            the field, what was given and what is allowed.
    """
    try:
        return parse_scenario(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_scenario(text: str) -> Scenario:
    """The scenario that a text in TOML describes.

    Raises:
        ValueError: As `load_scenario`, without the file.
    """
    document = tomllib.loads(text)
    readers: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
        "limits": ("limits", _limits),
        "fast_limits": ("fast_limits", _one(FastLimits)),
        "changes": ("changes", _each(Change)),
        "competitors": ("competitors", _each(Competitor)),
        "outages": ("outages", _each(Outage)),
        "ramp": ("ramp", _one(RampLimit)),
        "spend_cap": ("spend_cap", _one(SpendCap)),
        "headers": ("headers", _one(HeaderOptions)),
        "latency": ("latency", _one(LatencyDistribution)),
        "lengths": ("lengths", _one(Lengths)),
        "workload": ("workloads", _each(Workload)),
        "duration_seconds": ("duration_seconds", _as_given),
        "replicas": ("replicas", _as_given),
    }
    _refuse_unknown(document, tuple(readers), "")
    values: dict[str, Any] = {}
    for key, value in document.items():
        field, read = readers[key]
        values[field] = read(value, key)
    values |= {"limits_by_family": _limits_by_family(document["limits"])} if "limits" in document else {}
    return Scenario(**values)


def _limits(table: Any, path: str) -> PoolLimits:
    general = {key: value for key, value in _table(table, path).items() if key not in FAMILIES}
    return _build(PoolLimits, general, path)


def _limits_by_family(table: Table) -> dict[str, PoolLimits]:
    """The limits of single families; what they leave out is as in general."""
    general = {key: value for key, value in table.items() if key not in FAMILIES}
    return {
        family: _build(PoolLimits, {**general, **_table(own, f"limits.{family}")}, f"limits.{family}")
        for family, own in table.items()
        if family in FAMILIES
    }


def _one(kind: type[T]) -> Callable[[Any, str], T]:
    return lambda value, path: _build(kind, _table(value, path), path)


def _each(kind: type[T]) -> Callable[[Any, str], tuple[T, ...]]:
    def read(value: Any, path: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _refused(path, value, f"one or more tables [[{path}]]")
        return tuple(
            _build(kind, _table(table, f"{path}[{number}]"), f"{path}[{number}]")
            for number, table in enumerate(value, 1)
        )

    return read


def _build(kind: type[T], table: Table, path: str) -> T:
    """An object of a dataclass from the table of its fields; numbers are checked by the class itself."""
    described = {field.name: field for field in fields(kind)}
    _refuse_unknown(table, tuple(described), path)
    for name, field in described.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{path}.{name}: nothing was given; it is required")
    values = {
        name: _READERS.get(described[name].type, _as_given)(value, f"{path}.{name}") for name, value in table.items()
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from None


def _as_given(value: Any, _path: str) -> Any:
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise _refused(path, value, "a text that is not empty")
    return value


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _refused(path, value, "true or false")
    return value


def _member(kind: type[StrEnum]) -> Callable[[Any, str], StrEnum]:
    def read(value: Any, path: str) -> StrEnum:
        if value not in list(kind):
            raise _refused(path, value, " or ".join(repr(member.value) for member in kind))
        return kind(value)

    return read


def _distribution(value: Any, path: str) -> Distribution:
    """A number is that number always; a table names its `distribution` and the fields of that class."""
    if not isinstance(value, dict):
        return _build(Constant, {"value": value}, path)
    names = tuple(_DISTRIBUTIONS)
    name = value.get("distribution")
    if name not in names:
        raise _refused(f"{path}.distribution", name, " or ".join(repr(name) for name in names))
    table = {
        key: _numbers(one, f"{path}.{key}") if key in ("values", "weights") else one
        for key, one in value.items()
        if key != "distribution"
    }
    return _build(_DISTRIBUTIONS[name], table, path)


def _numbers(value: Any, path: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        raise _refused(path, value, "a list of numbers")
    return tuple(value)


def _table(value: Any, path: str) -> Table:
    if not isinstance(value, dict):
        raise _refused(path, value, "a table")
    return value


def _refuse_unknown(table: Table, allowed: tuple[str, ...], path: str) -> None:
    unknown = sorted(table.keys() - set(allowed))
    if unknown:
        where = f"{path}.{unknown[0]}" if path else unknown[0]
        raise ValueError(f"{where}: no such field; allowed are {', '.join(allowed)}")


def _refused(path: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{path}: {value!r} was given; {allowed} is allowed")


_READERS: Final[Mapping[Any, Callable[[Any, str], Any]]] = {
    str: _text,
    str | None: _text,
    bool: _flag,
    Distribution: _distribution,
    Distribution | None: _distribution,
    **{kind: _member(kind) for kind in (Dimension, HeadersAt, Pattern, Refill, SpendCapKind, WorkloadKind)},
}
"""How the fields of a type are read. Numbers have none: their class checks them."""
