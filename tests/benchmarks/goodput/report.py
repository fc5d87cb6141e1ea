"""Formats the table of a scenario: one line per client, with the median and the worst of all seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.goodput.expectations import Verdict
from benchmarks.goodput.metrics import Figures

__all__ = ["HEADER", "scenario_lines"]


class _Column(NamedTuple):
    title: str
    figure: str
    form: str
    scale: float = 1.0
    worst: str = "max"


_COLUMNS: Final = (
    _Column("used %", "share", "{:.1f}", 100.0, "min"),
    _Column("429/1000", "refused_per_1000", "{:.1f}"),
    _Column("gave up/1000", "given_up_per_1000", "{:.1f}"),
    _Column("wait p50 s", "wait_p50_seconds", "{:.2f}"),
    _Column("wait p99 s", "wait_p99_seconds", "{:.2f}"),
    _Column("settle s", "settle_seconds", "{:.1f}"),
    _Column("Jain", "jain", "{:.3f}", worst="min"),
    _Column("light p99 s", "light_p99_seconds", "{:.2f}"),
    _Column("makespan", "makespan", "{:.3f}"),
    _Column("ETA off p90 %", "prediction_error_p90", "{:.0f}", 100.0),
    _Column("largest window", "largest_window", "{:.3f}"),
)
_WIDTH: Final = 15

HEADER: Final = f"{'':16}" + "".join(f"{column.title:>{_WIDTH}}" for column in _COLUMNS)
"""Titles of the columns; a cell is `median|worst seed`."""


def scenario_lines(runs: Mapping[str, Sequence[Figures]], verdicts: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """The lines of one scenario, and each verdict, by client."""
    lines = [
        f"{client:16}" + "".join(f" {_cell(column, figures):>{_WIDTH - 1}}" for column in _COLUMNS)
        for client, figures in runs.items()
    ]
    return lines + [
        f"  {'PASS' if each.passed else 'MISS'} {client} {each.figure}: bound {each.bound:g},"
        f" median {each.median:.4g}, worst {each.worst:.4g}"
        for client, judged in verdicts.items()
        for each in judged
    ]


def _cell(column: _Column, runs: Sequence[Figures]) -> str:
    values = [value for run in runs if (value := getattr(run, column.figure)) is not None]
    if not values:
        return "-"
    worst = min(values) if column.worst == "min" else max(values)
    return "|".join(_number(column, value) for value in (statistics.median(values), worst))


def _number(column: _Column, value: float) -> str:
    return "never" if math.isinf(value) else column.form.format(value * column.scale)
