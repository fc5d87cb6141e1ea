"""The settings of all pools: those of the configuration, and those set at runtime in their place."""

from collections.abc import Iterable, Mapping

from tidegate.core.claude.rate_limit_groups import OTHER_ENDPOINTS, is_endpoint_pool
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.stores.store_state import ConfiguredState

__all__ = ["PoolConfiguration"]

_UNLIMITED = PoolSettings()


class PoolConfiguration:
    """Looks up the settings of pools. Replaces its mappings as a whole, so that any thread may read them.

    What is set at runtime holds in each dimension until the configuration changes there.

    Args:
        configured: settings by name of pool. Those of `other_endpoints` also apply to each further endpoint.
        otherwise: settings of every other pool.
    """

    def __init__(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        self._initial = dict(configured)
        self._otherwise = otherwise
        self._at_runtime: dict[str, PoolSettings] = {}
        self._in_effect = dict(self._initial)

    def __contains__(self, pool: str) -> bool:
        """Whether a pool has settings of its own."""
        return pool in self._in_effect

    def of(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        return self._find(self._in_effect, pool)

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool by configuration."""
        self._initial[pool] = settings
        self._combine()

    def set_at_runtime(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool in place of those by configuration."""
        self._at_runtime[pool] = settings
        self._combine()

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Replaces the configuration."""
        at_runtime = self.dump()
        self._initial, self._otherwise, self._at_runtime = dict(configured), otherwise, {}
        self.restore(at_runtime)

    def dump(self) -> tuple[ConfiguredState, ...]:
        """What was set at runtime, for `restore`."""
        return tuple(
            ConfiguredState(pool, self._find(self._initial, pool), settings)
            for pool, settings in self._at_runtime.items()
        )

    def restore(self, at_runtime: Iterable[ConfiguredState]) -> None:
        """Continues with what was set at runtime, as far as the configuration is the same as then."""
        for pool, before, settings in ((each.pool, each.before, each.settings) for each in at_runtime):
            after = self._find(self._initial, pool)
            if (kept := settings.updated(before, after)) != after:
                self._at_runtime[pool] = kept
        self._combine()

    def _combine(self) -> None:
        self._in_effect = {**self._initial, **self._at_runtime}

    def _find(self, settings: Mapping[str, PoolSettings], pool: str) -> PoolSettings:
        if (found := settings.get(pool)) is not None:
            return found
        return settings.get(OTHER_ENDPOINTS, _UNLIMITED) if is_endpoint_pool(pool) else self._otherwise
