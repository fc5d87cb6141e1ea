"""What two refusals measure: between them, a bucket was refilled by exactly what was used."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import Cost

__all__ = ["Mark", "Measurement", "measure"]

_ROUNDING_SECONDS: Final = 1.0
"""`retry-after` is rounded up to a whole second."""
_ESTIMATE_ERROR: Final = 0.25
"""By what share the input of a request that was refused is not known: it was estimated."""
_WELL_MEASURED: Final = 0.1
"""A measurement that is off by no more is complete; a worse one goes further back."""


class Mark(NamedTuple):
    """A refusal: when what it lacked was there again, and what had been used by then, with what it needed itself.

    `told` is whether the upstream has said when. The pool paused for `pause_ns`.
    """

    at_ns: int
    units: Cost
    told: bool = True
    pause_ns: int = 0


class Measurement(NamedTuple):
    """Rates a second by dimension, by what share they may be off, and over what they were measured.

    `lately` is how many requests have gone since the newest mark.
    """

    per_second: tuple[float, ...]
    doubts: tuple[float, ...]
    moved: Cost
    seconds: float
    told: bool
    lately: int


def measure(marks: Sequence[Mark], end: Mark, *, shallow: bool) -> Measurement | None:
    """The rates between the newest mark that is far enough back, or else the oldest, and this one; None without any.

    All marks are earlier than `end`. Where nobody said when there was room again, a `shallow` bucket has lost what came
    back in pauses.
    """
    found = None
    paused_ns = 0
    for start in reversed(marks):
        paused_ns += start.pause_ns
        seconds = (end.at_ns - start.at_ns) / NS_PER_SECOND
        moved = end.units.minus(start.units)
        unsure_s = _ROUNDING_SECONDS if end.told else paused_ns / NS_PER_SECOND if shallow else 0.0
        doubt = unsure_s / seconds
        each = 1 / max(1, moved.requests)
        doubts = (
            doubt + (0 if end.told else each),
            doubt + each * (_ESTIMATE_ERROR if end.told else 1),
            doubt + (0 if end.told else each),
        )
        found = Measurement(
            tuple(max(0, units) / seconds for units in moved),
            doubts,
            moved,
            seconds,
            end.told,
            end.units.requests - marks[-1].units.requests,
        )
        if doubt <= _WELL_MEASURED:
            break
    return found
