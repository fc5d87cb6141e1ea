"""The settings of all pools: those of the configuration, and those set at runtime in their place."""

from collections.abc import Iterable, Mapping

from tidegate.core.claude.rate_limit_groups import OTHER_ENDPOINTS, is_endpoint_pool
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.store_state import ConfiguredState

__all__ = ["PoolConfiguration"]

_UNLIMITED = PoolSettings()


class PoolConfiguration:
    """Looks up the settings of pools. Replaces its mappings as a whole, so that any thread may read them.

    A value set at runtime holds in its dimension until the configuration changes there.

    Args:
        configured: settings by name of pool. The settings of `other_endpoints` also apply to each further endpoint.
        otherwise: settings of every other pool.
    """

    def __init__(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        self._initial = dict(configured)
        self._otherwise = otherwise
        self._at_runtime: dict[str, PoolSettings] = {}
        self._origins: dict[str, dict[Dimension, SetAtRuntime]] = {}
        self._in_effect = dict(self._initial)

    def __contains__(self, pool: str) -> bool:
        """Whether a pool has settings of its own."""
        return pool in self._in_effect

    @property
    def configured(self) -> tuple[Mapping[str, PoolSettings], PoolSettings]:
        """The settings by configuration: those by name of pool, and those of every other pool."""
        return self._initial, self._otherwise

    def of(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        return self._find(self._in_effect, pool)

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool by configuration."""
        self._initial[pool] = settings
        self._combine()

    def set_at_runtime(self, pool: str, settings: PoolSettings, origin: SetAtRuntime | None = None) -> None:
        """Sets the settings of a pool in place of those by configuration.

        Args:
            pool: name of the pool.
            settings: the settings; a value that is already in effect keeps its origin.
            origin: who sets them, and when; None: it is not recorded.
        """
        before, known = self.of(pool).limits, self.origins(pool)
        self._at_runtime[pool] = settings
        self._origins[pool] = {
            dimension: source
            for dimension in self._changed(pool, settings)
            if (source := known.get(dimension) if before.get(dimension) == settings.limits.get(dimension) else origin)
        }
        self._combine()

    def origins(self, pool: str) -> Mapping[Dimension, SetAtRuntime]:
        """The author of each limit of a pool that is not the configuration's, as far as it was recorded."""
        return self._origins.get(pool, {})

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Replaces the configuration."""
        at_runtime = self.dump()
        self._initial, self._otherwise, self._at_runtime = dict(configured), otherwise, {}
        self._origins = {}
        self.restore(at_runtime)

    def dump(self) -> tuple[ConfiguredState, ...]:
        """The settings that were set at runtime, for `restore`."""
        return tuple(
            ConfiguredState(pool, self._find(self._initial, pool), settings, dict(self.origins(pool)))
            for pool, settings in self._at_runtime.items()
        )

    def restore(self, at_runtime: Iterable[ConfiguredState]) -> None:
        """Continues with what was set at runtime, as far as the configuration is the same as then."""
        for each in at_runtime:
            after = self._find(self._initial, each.pool)
            kept = each.settings if each.before == after else each.settings.updated(each.before, after)
            if each.before == after or kept != after:
                self._at_runtime[each.pool] = kept
                changed = self._changed(each.pool, kept)
                self._origins[each.pool] = {key: each.origins[key] for key in changed if key in each.origins}
        self._combine()

    def _changed(self, pool: str, settings: PoolSettings) -> list[Dimension]:
        """The dimensions in which settings are different from the configuration's."""
        initial = self._find(self._initial, pool).limits
        return [each for each in Dimension if settings.limits.get(each) != initial.get(each)]

    def _combine(self) -> None:
        self._in_effect = {**self._initial, **self._at_runtime}

    def _find(self, settings: Mapping[str, PoolSettings], pool: str) -> PoolSettings:
        if (found := settings.get(pool)) is not None:
            return found
        return settings.get(OTHER_ENDPOINTS, _UNLIMITED) if is_endpoint_pool(pool) else self._otherwise
