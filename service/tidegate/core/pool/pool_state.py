"""The learned state of a pool, as one versioned value."""

from typing import Final

from msgspec import Struct

from tidegate.core.failures.failure_tracker import FailureTrackerState
from tidegate.core.failures.retry_gate import RetryGateState
from tidegate.core.forecast.wait_forecast import WaitForecastState
from tidegate.core.limits.recent_use import RecentUseState
from tidegate.core.queue.class_shares import ClassSharesState
from tidegate.core.quota.quota_state import QuotaState

__all__ = ["POOL_STATE_VERSION", "PoolState"]

POOL_STATE_VERSION: Final = 1
"""Counts changes after which older dumps cannot be read. A new field at the end, with a default, is no such change."""


class PoolState(Struct, frozen=True, array_like=True):
    """The dump of a `Pool`: at most 64 KB encoded.

    It holds no settings, which configuration has, and neither waiters nor leases, which `PoolWork` has. All times are
    ages or remaining times.
    """

    version: int
    pool: str
    quota: QuotaState
    failures: FailureTrackerState
    retries: RetryGateState
    class_shares: ClassSharesState
    forecast: WaitForecastState
    recent_use: RecentUseState
    granted: int
    rate_limited: int
    succeeded: int
