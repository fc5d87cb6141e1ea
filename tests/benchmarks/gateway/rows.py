"""The lines of the report: a figure per contender, and what is asked of ours in relation to another's."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Bound", "Rounds", "Row"]

_CELL: Final = 13


@dataclass(frozen=True, slots=True)
class Bound:
    """A judged figure, most often a ratio, and the least or the most that it may be."""

    what: str
    value: float
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def is_met(self) -> bool:
        """Whether the figure, at two decimals, is within the bounds."""
        return self.at_least <= round(self.value, 2) <= self.at_most

    def text(self) -> str:
        """The figure, its bound and the verdict."""
        low, high = self.at_least, self.at_most
        if low == -math.inf and high == math.inf:
            return f"{self.what} {self.value:.2f}"
        bound = f">= {low:g}" if high == math.inf else f"<= {high:g}" if low == -math.inf else f"{low:g} to {high:g}"
        return f"{self.what} {self.value:.2f} ({bound}) {'PASS' if self.is_met else 'MISS'}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line: figures by contender, and what they are held to."""

    label: str
    figures: Mapping[str, float]
    bounds: tuple[Bound, ...] = ()

    def lines(self, names: Iterable[str]) -> list[str]:
        """The figures, and below them each bound."""
        cells = "".join(f"{_number(self.figures.get(name)):>{_CELL}}" for name in names)
        return [f"{self.label:<44}{cells}", *(f"    {bound.text()}" for bound in self.bounds)]

    @staticmethod
    def header(names: Iterable[str]) -> str:
        """The line above the rows."""
        return f"{'':<44}" + "".join(f"{name:>{_CELL}}" for name in names)


class Rounds:
    """Figures of several rounds by what they are and whose; read as medians."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}

    def add(self, what: str, name: str, value: float) -> None:
        """A contender's figure in one more round."""
        self._values.setdefault((what, name), []).append(value)

    def medians(self, what: str) -> dict[str, float]:
        """The median of each contender's rounds."""
        return {name: statistics.median(values) for (kind, name), values in self._values.items() if kind == what}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
