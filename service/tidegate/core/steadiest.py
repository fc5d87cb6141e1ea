"""Tells which of requests, input and output tokens an upstream limits that says nothing.

Measured from 429 to 429, the dimension that is limited gives the same figure each time; those of the others vary with
the sizes of requests.
"""

from math import log
from typing import Final

__all__ = ["Steadiest"]

_FIRST_VARIATION: Final = (0.0, 0.05, 0.05)
"""Requests are believed to be limited until the figures for tokens have proved steadier."""
_FORGET: Final = 0.3
_CLEARLY: Final = 0.7
"""Another dimension is believed when its figures vary that much less."""


class Steadiest:
    """The dimension whose figures vary least.

    Attributes:
        index: of that dimension, in `DIMENSIONS`.
    """

    __slots__ = ("_last", "_variation", "index")

    def __init__(self) -> None:
        self.index = 0
        self._last: tuple[float, ...] = ()
        self._variation = list(_FIRST_VARIATION)

    def add(self, per_second: tuple[float, ...]) -> float:
        """The rates of one measurement. Returns by what to multiply a rate, because its dimension changed."""
        last, self._last = self._last, per_second
        for index, (before, now) in enumerate(zip(last, per_second, strict=False)):
            change = abs(log(now / before)) if now > 0 and before > 0 else 1.0  # who uses none is not limited by that
            self._variation[index] += _FORGET * (change - self._variation[index])
        believed = self.index
        used = [index for index, rate in enumerate(per_second) if rate > 0]
        if believed not in used:
            return 1.0
        self.index = min(used, key=self._variation.__getitem__)
        if self._variation[self.index] >= _CLEARLY * self._variation[believed]:
            self.index = believed
        return per_second[self.index] / per_second[believed]
