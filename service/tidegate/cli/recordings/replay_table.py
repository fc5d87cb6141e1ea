"""The output of `tidegate replay`: a table for people, and JSON for programs."""

from collections.abc import Mapping
from typing import Any, Final

from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.stores.recording.figures import Figures

__all__ = ["Compared", "as_json", "table"]

Compared = Mapping[str, tuple[Figures, Figures]]
"""By pool or caller: the figures of the recording and of the replay."""

_HEAD: Final = ("", "calls", "p50", "p90", "p99", "left", "waiting", "429s", "requests", "input", "output", "refused")
_NAMES: Final = ("original", "replay")
_TEXTS: Final = len(_HEAD) - 1
"""The columns from here on, and the first two, are aligned to the left."""


def as_json(compared: Compared) -> dict[str, Any]:
    """The figures as an object for programs. Waits are in seconds."""
    return {
        name: {each: _figures_json(figures) for each, figures in zip(_NAMES, pair, strict=True)}
        for name, pair in compared.items()
    }


def table(title: str, compared: Compared) -> list[str]:
    """Lines of a table: two for each name. Used tokens are followed by the share of the quota."""
    rows: list[tuple[str, ...]] = [(title, *_HEAD)]
    for name, pair in compared.items():
        for number, figures in enumerate(pair):
            rows.append((name if not number else "", _NAMES[number], *_cells(figures)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(map(_aligned, range(len(row)), row, widths)).rstrip() for row in rows]


def _figures_json(figures: Figures) -> dict[str, Any]:
    percentiles = figures.wait_percentiles()
    return {
        "calls": figures.calls,
        "admitted": len(figures.waits),
        "wait_seconds": None if percentiles is None else dict(zip(("p50", "p90", "p99"), percentiles, strict=True)),
        "refused": dict(sorted(figures.refused.items())),
        "left": figures.left,
        "waiting": figures.waiting,
        "rate_limited": figures.rate_limited,
        "used": dict(zip(map(str, DIMENSIONS), figures.used, strict=True)),
        "used_share": {str(dimension): share for dimension, share in figures.shares().items()},
    }


def _cells(figures: Figures) -> tuple[str, ...]:
    percentiles, shares = figures.wait_percentiles(), figures.shares()
    waits = ("-",) * 3 if percentiles is None else tuple(f"{each:.2f} s" for each in percentiles)
    used = (
        f"{units:,} ({shares[dimension]:.0%})" if dimension in shares else f"{units:,}"
        for dimension, units in zip(DIMENSIONS, figures.used, strict=True)
    )
    counts = (figures.left, figures.waiting, figures.rate_limited)
    refused = ", ".join(f"{cause} {number:,}" for cause, number in sorted(figures.refused.items()))
    return (f"{figures.calls:,}", *waits, *(f"{each:,}" for each in counts), *used, refused or "-")


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column < 2 or column > _TEXTS else cell.rjust(width)
