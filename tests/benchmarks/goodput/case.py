"""A scenario with a name, and how its operator has configured the limiter."""

from dataclasses import dataclass

from benchmarks.goodput.scenario import LoadScenario
from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings

__all__ = ["BenchmarkCase"]


@dataclass(frozen=True, slots=True)
class BenchmarkCase:
    """A named scenario, and the configuration of the limiter under test.

    Attributes:
        configured: Whether the limiter is configured with the scenario's limits.
        configured_seconds: How many seconds of refill the configured bucket holds; None: as the upstream's.
    """

    name: str
    scenario: LoadScenario
    configured: bool = False
    configured_seconds: float | None = None

    @property
    def settings(self) -> PoolSettings:
        """Those of an operator who knows the limits per minute, and perhaps the capacity of the bucket."""
        limits = self.scenario.upstream.limits
        seconds = self.configured_seconds or limits.enforcement_seconds
        return PoolSettings(
            limits={
                dimension: LimitSettings(per_minute, max(1.0, per_minute * seconds / 60))
                for dimension, per_minute in zip(DIMENSIONS, limits.per_minute().values(), strict=True)
            }
        )
