"""Bounds for the figures of Tidegate: `expectations.toml`, by scenario."""

import math
import statistics
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from benchmarks.goodput.metrics import Figures

__all__ = ["Expectations", "Verdict", "judge", "read_expectations"]

_FILE: Final = Path(__file__).parent / "expectations.toml"
_WORST_MAY_MISS_BY: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class Expectations:
    """Bounds for the median seed; None: reported without a bound. Names and units are those of `Figures`.

    All except `share` are upper bounds. The worst seed may exceed a bound by a third; for `share`, by a third of its
    distance to 1. `share_below_one_process` is by how much the share is below that of one process with the same seed.

    Two fields are not bounds: `configured`, whether the limiter is configured with the scenario's limits, and
    `configured_seconds`, how many seconds of refill the configured bucket holds (None: as the upstream's).
    """

    configured: bool = False
    configured_seconds: float | None = None
    share: float | None = None
    refused_per_1000: float | None = None
    given_up_per_1000: float | None = None
    settle_seconds: float | None = None
    light_p99_seconds: float | None = None
    makespan: float | None = None
    prediction_error_p90: float | None = None
    largest_window: float | None = None
    share_below_one_process: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound, and the median and the worst of all seeds."""

    figure: str
    bound: float
    median: float
    worst: float

    @property
    def passed(self) -> bool:
        """Whether both meet the bound."""
        if self.figure == "share":
            return self.median >= self.bound and self.worst >= self.bound - (1 - self.bound) * _WORST_MAY_MISS_BY
        return self.median <= self.bound and self.worst <= self.bound * (1 + _WORST_MAY_MISS_BY)


def read_expectations(*, shared: bool = False) -> dict[str, Expectations]:
    """Read the bounds for `tidegate`, or for `tidegate-shared`, by scenario.

    Raises:
        TypeError: the file names an unknown figure.
    """
    both = tomllib.loads(_FILE.read_text())
    of_shared = {name: bounds.pop("shared") for name, bounds in both.items() if "shared" in bounds}
    return {name: Expectations(**bounds) for name, bounds in (of_shared if shared else both).items() if bounds}


def judge(expectations: Expectations, runs: Sequence[Figures], one_process: Sequence[Figures] = ()) -> list[Verdict]:
    """Compare the runs of all seeds with every bound. A missing figure counts as missed.

    Args:
        expectations: The bounds.
        runs: One per seed.
        one_process: The runs of one process with the same seeds. Without them, nothing is compared with it.
    """
    if not runs:
        return []
    verdicts: list[Verdict] = []
    for field in fields(expectations):
        bound = getattr(expectations, field.name)
        if field.name.startswith("configured") or bound is None:
            continue
        if field.name == "share_below_one_process":
            values = [one.share - run.share for one, run in zip(one_process, runs, strict=False)]
            worst_of: Callable[[Sequence[float]], float] = max
        else:
            worst_of, missing = (min, -math.inf) if field.name == "share" else (max, math.inf)
            values = [missing if (value := getattr(run, field.name)) is None else value for run in runs]
        if values:
            verdicts.append(Verdict(field.name, bound, statistics.median(values), worst_of(values)))
    return verdicts
