"""The adaptive factor: the share of its full rate that a pool uses, learned from 429s and successes."""

from typing import Annotated, Self

from msgspec import Meta, Struct

from tidegate.core.domain.pool_settings import AdaptiveSettings

__all__ = ["AdaptiveFactor", "AdaptiveFactorState"]


class AdaptiveFactorState(Struct, frozen=True, array_like=True):
    """The dump of an `AdaptiveFactor`."""

    value: Annotated[float, Meta(ge=0, le=1)]


class AdaptiveFactor:
    """Multiplicative decrease, additive increase.

    A 429 sets `value × (1 - learning_rate)`, a success `value + learning_rate × recovery`. The value starts at 1 and
    stays between the floor and 1. `AdaptiveSettings` documents the parameters.
    """

    __slots__ = ("_settings", "value")

    def __init__(self, settings: AdaptiveSettings) -> None:
        self._settings = settings
        self.value = 1.0

    def dump(self) -> AdaptiveFactorState:
        """The state, for `restore`."""
        return AdaptiveFactorState(self.value)

    @classmethod
    def restore(cls, state: AdaptiveFactorState, settings: AdaptiveSettings) -> Self:
        """Continues from `state`, within the bounds of `settings`."""
        restored = cls(settings)
        restored.value = state.value
        restored.configure(settings)
        return restored

    def configure(self, settings: AdaptiveSettings) -> None:
        """Follows other settings and keeps the value. A learning rate of 0 sets it to 1."""
        self._settings = settings
        self.value = max(self.value, settings.floor) if settings.learning_rate else 1.0

    def cut(self) -> bool:
        """Lowers the factor after a 429. Returns whether it changed."""
        return self._move(max(self._settings.floor, self.value * (1 - self._settings.learning_rate)))

    def grow(self) -> bool:
        """Raises the factor after a success. Returns whether it changed."""
        return self._move(min(1.0, self.value + self._settings.learning_rate * self._settings.recovery))

    def _move(self, value: float) -> bool:
        changed = value != self.value
        self.value = value
        return changed
