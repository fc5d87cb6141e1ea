"""The adaptive factor: what share of its full rate a pool uses, learned from 429s and successes."""

from typing import Self

from msgspec import Struct

from tidegate.core.domain.pool_settings import AdaptiveSettings

__all__ = ["AdaptiveFactor", "AdaptiveFactorState"]


class AdaptiveFactorState(Struct, frozen=True, array_like=True):
    """A dumped `AdaptiveFactor`."""

    value: float


class AdaptiveFactor:
    """Multiplicative decrease, additive increase: a 429 cuts the factor by the learning rate, a success returns a step.

    The factor is between the floor and 1; it starts at 1.
    """

    __slots__ = ("_settings", "value")

    def __init__(self, settings: AdaptiveSettings) -> None:
        self._settings = settings
        self.value = 1.0

    def configure(self, settings: AdaptiveSettings) -> None:
        """Goes on from the present factor under other settings; without adaptation, at the full rate."""
        self._settings = settings
        self.value = max(self.value, settings.floor) if settings.learning_rate else 1.0

    def cut(self) -> bool:
        """A 429 came. Returns whether the factor changed."""
        return self._move(max(self._settings.floor, self.value * (1 - self._settings.learning_rate)))

    def grow(self) -> bool:
        """An answer came. Returns whether the factor changed."""
        return self._move(min(1.0, self.value + self._settings.learning_rate * self._settings.recovery))

    def dump(self) -> AdaptiveFactorState:
        """The state now."""
        return AdaptiveFactorState(self.value)

    @classmethod
    def restore(cls, state: AdaptiveFactorState, settings: AdaptiveSettings) -> Self:
        """Continues from a dumped state, within the bounds of the settings."""
        factor = cls(settings)
        factor.value = min(1.0, state.value)
        factor.configure(settings)
        return factor

    def _move(self, value: float) -> bool:
        changed = value != self.value
        self.value = value
        return changed
