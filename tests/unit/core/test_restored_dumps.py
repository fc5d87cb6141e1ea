"""Every field of a dump is restored and dumped again: checked with states in which each figure is another one.

That a restored mechanism also behaves as the original did is checked in `property/dumps`.
"""

from collections.abc import Callable
from itertools import count
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from msgspec import Struct

from tidegate.core.acceleration.acceleration_limit import AccelerationLimit, AccelerationLimitState
from tidegate.core.domain.dimension import Dimension
from tidegate.core.failures.circuit_breaker import CircuitBreaker, CircuitBreakerState
from tidegate.core.failures.concurrency_limit import ConcurrencyLimit, ConcurrencyLimitState
from tidegate.core.failures.failure_tracker import FailureTracker, FailureTrackerState
from tidegate.core.failures.probing import Probing, ProbingState
from tidegate.core.failures.retry_budget import RetryBudget, RetryBudgetState
from tidegate.core.failures.spend_cap_circuit import SpendCapCircuit, SpendCapCircuitState
from tidegate.core.limits.charge_log import ChargeLog, ChargeLogState
from tidegate.core.limits.competing_traffic import CompetingTraffic, CompetingTrafficState
from tidegate.core.limits.dimension_limit import DimensionLimit, DimensionLimitState
from tidegate.core.limits.fixed_window import FixedWindow, FixedWindowState, FixedWindowVotes
from tidegate.core.limits.recent_use import RecentUse, RecentUseState
from tidegate.core.limits.reported_level import ReportedLevel, ReportedLevelState
from tidegate.core.limits.token_bucket import TokenBucket, TokenBucketState
from tidegate.core.pricing.cost_estimator import CostEstimator, CostEstimatorState
from tidegate.core.quota.pool_limits import PoolLimits, PoolLimitsState
from tidegate.core.rate_search.limiting_dimension import LimitingDimension, LimitingDimensionState
from tidegate.core.rate_search.output_debt import OutputDebt, OutputDebtState
from tidegate.core.rate_search.proven_rate import ProvenRate, ProvenRateState
from tidegate.core.rate_search.rate_bounds import RateLimitHit, RateLimitHitState
from tidegate.core.rate_search.rate_search import RateSearch, RateSearchState

NOW_NS = 10**15
REQUESTS = Dimension.REQUESTS

RESTORED: dict[type[Struct], Callable[[Any], Any]] = {
    AccelerationLimitState: lambda state: AccelerationLimit.restore(state, NOW_NS),
    ChargeLogState: lambda state: ChargeLog.restore(state, NOW_NS),
    CircuitBreakerState: lambda state: CircuitBreaker.restore(state, NOW_NS),
    CompetingTrafficState: lambda state: CompetingTraffic.restore(state, NOW_NS),
    ConcurrencyLimitState: lambda state: ConcurrencyLimit.restore(state, NOW_NS),
    CostEstimatorState: lambda state: CostEstimator.restore(state, NOW_NS),
    DimensionLimitState: lambda state: DimensionLimit.restore(state, NOW_NS, REQUESTS, FixedWindowVotes()),
    FailureTrackerState: lambda state: FailureTracker.restore(state, NOW_NS, "p", []),
    FixedWindowState: lambda state: FixedWindow.restore(state, NOW_NS, FixedWindowVotes()),
    OutputDebtState: lambda state: OutputDebt.restore(state, NOW_NS),
    PoolLimitsState: lambda state: PoolLimits.restore(state, NOW_NS),
    ProbingState: lambda state: Probing.restore(state, NOW_NS),
    ProvenRateState: lambda state: ProvenRate.restore(state, NOW_NS),
    RateLimitHitState: lambda state: RateLimitHit.restore(state, NOW_NS),
    RateSearchState: lambda state: RateSearch.restore(state, NOW_NS),
    RecentUseState: lambda state: RecentUse.restore(state, NOW_NS, lambda _: (None, None, None)),
    ReportedLevelState: lambda state: ReportedLevel.restore(state, NOW_NS, REQUESTS, FixedWindowVotes()),
    RetryBudgetState: lambda state: RetryBudget.restore(state, NOW_NS),
    SpendCapCircuitState: lambda state: SpendCapCircuit.restore(state, NOW_NS),
    TokenBucketState: lambda state: TokenBucket.restore(state, NOW_NS),
}


def sample(kind: Any, numbers: "count[int]", *, optional: bool) -> Any:
    """A value of a type in which each number is another one, and what may be None is so unless `optional`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        first = next(each for each in arguments if each is not NoneType)
        return None if NoneType in arguments and not optional else sample(first, numbers, optional=optional)
    if origin is tuple:
        parts = arguments[:1] * 2 if arguments[-1] is Ellipsis else arguments
        return tuple(sample(each, numbers, optional=optional) for each in parts)
    simple: dict[Any, Callable[[], object]] = {
        bool: lambda: optional,
        int: lambda: next(numbers),
        float: lambda: next(numbers) + 0.5,
        str: lambda: f"name {next(numbers)}",
    }
    if kind in simple:
        return simple[kind]()
    return kind(**{name: sample(hint, numbers, optional=optional) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("kind", RESTORED)
def test_a_restored_mechanism_dumps_the_state_that_it_was_restored_from(kind: type[Struct], *, optional: bool) -> None:
    state = sample(kind, count(1), optional=optional)
    assert RESTORED[kind](state).dump(NOW_NS) == state


@pytest.mark.parametrize("optional", [True, False])
def test_a_restored_limiting_dimension_dumps_the_same(*, optional: bool) -> None:
    state = sample(LimitingDimensionState, count(1), optional=optional)
    assert LimitingDimension.restore(state).dump() == state
