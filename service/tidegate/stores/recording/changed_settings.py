"""Other settings for a replay, applied to everything that is recorded of the old ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from msgspec import structs

from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.stores.recording.observed_pools import Operation
from tidegate.stores.valkey.log_fold import LogState

__all__ = ["AUTO_BURST_SECONDS", "ChangedLimits", "ChangedSettings"]

AUTO_BURST_SECONDS: Final = 10.0
"""The capacity of a limit without one, in seconds of its rate: as in the configuration."""
_LIMITS: Final = frozenset(CallerLimits.__slots__)


@dataclass(frozen=True)
class ChangedLimits:
    """Other limits of a pool.

    Attributes:
        per_minute: by dimension; None: the limit that the upstream reports.
        burst_seconds: the capacity of all configured limits, in seconds of their rate; None: as before.
    """

    per_minute: Mapping[Dimension, float | None] = field(default_factory=dict)
    burst_seconds: float | None = None

    def of(self, settings: PoolSettings) -> PoolSettings:
        """The settings with these limits."""
        limits = dict(settings.limits)
        for dimension, per_minute in self.per_minute.items():
            before = limits.pop(dimension, None)
            if per_minute is not None:
                seconds = AUTO_BURST_SECONDS if before is None else before.capacity / before.per_minute * 60
                limits[dimension] = _limit(per_minute, seconds)
        if self.burst_seconds is not None:
            limits = {each: _limit(limit.per_minute, self.burst_seconds) for each, limit in limits.items()}
        return replace(settings, limits=limits)


@dataclass(frozen=True)
class ChangedSettings:
    """Settings that take the place of the recorded ones.

    A limit above the one that the upstream has reported counts as granted by it.

    Attributes:
        pools: limits by name of pool.
        messages: limits of each Messages pool without limits of its own.
        caps: fields of `QueueCaps` for all pools.
        callers: by name: the fields of `Caller` and of `CallerLimits`.
    """

    pools: Mapping[str, ChangedLimits] = field(default_factory=dict)
    messages: ChangedLimits = ChangedLimits()
    caps: Mapping[str, Any] = field(default_factory=dict)
    callers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def state(self, state: LogState) -> LogState:
        """The state of a log as if these settings had been in effect."""
        fold = state.fold
        configured, otherwise = self._configuration(fold.configured, fold.otherwise)
        at_runtime = tuple(
            structs.replace(
                each, before=self._pool(each.pool, each.before), settings=self._pool(each.pool, each.settings)
            )
            for each in fold.store.configured
        )
        store = structs.replace(fold.store, configured=at_runtime)
        changed = structs.replace(
            fold, configured=configured, otherwise=otherwise, callers=self._limits(fold.callers), store=store
        )
        return structs.replace(state, fold=changed)

    def operation(self, operation: Operation) -> Operation:
        """A step by which settings were changed in the recording."""
        arguments = operation.arguments
        match operation.method:
            case "reload":
                arguments = self._configuration(*arguments)
            case "configure":
                arguments = (arguments[0], self._pool(arguments[0], arguments[1]), *arguments[2:])
            case "limit_callers":
                arguments = (self._limits(arguments[0]),)
        return replace(operation, arguments=arguments)

    def demand(self, demand: Demand) -> Demand:
        """A demand by the same caller."""
        changes = self.callers.get(demand.caller.name)
        return demand if changes is None else structs.replace(demand, caller=_changed_caller(demand.caller, changes))

    def limit_set(self, pool: str, dimension: Dimension) -> float | None:
        """The limit per minute that is set for a pool; None: none is."""
        return self.pools.get(pool, self.messages).per_minute.get(dimension)

    def _configuration(
        self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings
    ) -> tuple[dict[str, PoolSettings], PoolSettings]:
        named = {**{name: otherwise for name in self.pools if name not in configured}, **configured}
        return {name: self._pool(name, each) for name, each in named.items()}, self._capped(self.messages.of(otherwise))

    def _pool(self, name: str, settings: PoolSettings) -> PoolSettings:
        changed = self.pools.get(name)
        return self._capped(settings if changed is None else changed.of(settings))

    def _capped(self, settings: PoolSettings) -> PoolSettings:
        return replace(settings, caps=replace(settings.caps, **self.caps)) if self.caps else settings

    def _limits(self, limits: Mapping[str, CallerLimits | None]) -> dict[str, CallerLimits | None]:
        return {
            name: _changed_limits(each, self.callers[name]) if name in self.callers else each
            for name, each in limits.items()
        }


def _limit(per_minute: float, burst_seconds: float) -> LimitSettings:
    return LimitSettings(per_minute, max(1.0, per_minute * burst_seconds / 60))


def _changed_caller(caller: Caller, changes: Mapping[str, Any]) -> Caller:
    own = {name: value for name, value in changes.items() if name not in _LIMITS}
    return replace(caller, **own, limits=_changed_limits(caller.limits, changes))


def _changed_limits(limits: CallerLimits | None, changes: Mapping[str, Any]) -> CallerLimits | None:
    own = {name: value for name, value in changes.items() if name in _LIMITS}
    changed = replace(limits or CallerLimits(), **own)
    return None if changed == CallerLimits() else changed
