"""The share of one of several replicas: of limits, and in steps that carry limits."""

from collections.abc import Mapping
from dataclasses import replace

from msgspec import structs

from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.pool_settings import LEAST_UNITS, LimitSettings, PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.stores.steps import Configure, Held, LimitCallers, Rejoin, Reload, Reserve, Step

__all__ = ["callers_share", "pool_share", "step_share"]


def pool_share(settings: PoolSettings, pool: PoolSnapshot | None, count: int) -> PoolSettings:
    """One of `count` equal shares of each limit that is configured, or in effect by a snapshot."""
    limits = {name: (limit.per_minute, limit.capacity) for name, limit in settings.limits.items()}
    for each in () if pool is None else pool.dimensions:
        if each.effective_per_minute is not None and each.capacity is not None:
            limits[each.dimension] = each.effective_per_minute, each.capacity
    shares = {
        name: LimitSettings(max(LEAST_UNITS, per_minute / count), max(1.0, capacity / count))
        for name, (per_minute, capacity) in limits.items()
    }
    return replace(settings, limits=shares)


def callers_share(limits: Mapping[str, CallerLimits | None], count: int) -> dict[str, CallerLimits | None]:
    """One of `count` equal shares of callers' own limits, by name of the caller."""
    return {name: _limits_share(each, count) for name, each in limits.items()}


def step_share(step: Step, count: int) -> Step:
    """The step with one of `count` equal shares of the limits that it carries."""
    match step:
        case Configure():
            return structs.replace(step, settings=pool_share(step.settings, None, count))
        case Reload():
            configured = {name: pool_share(settings, None, count) for name, settings in step.configured.items()}
            return Reload(configured, pool_share(step.otherwise, None, count))
        case LimitCallers():
            return LimitCallers(callers_share(step.limits, count))
        case Reserve():
            return _reserve_share(step, count)
        case Rejoin():
            waiting = tuple((number, _reserve_share(each, count)) for number, each in step.waiting)
            leases = tuple(_held_share(each, count) for each in step.leases)
            steps = tuple(step_share(each, count) for each in step.steps)
            return structs.replace(step, waiting=waiting, leases=leases, steps=steps)
    return step


def _reserve_share(step: Reserve, count: int) -> Reserve:
    return Reserve(step.lease_id, _demand_share(step.demand, count))


def _held_share(held: Held, count: int) -> Held:
    return structs.replace(held, demand=_demand_share(held.demand, count))


def _demand_share(demand: Demand, count: int) -> Demand:
    if demand.caller.limits is None:
        return demand
    return structs.replace(demand, caller=replace(demand.caller, limits=_limits_share(demand.caller.limits, count)))


def _limits_share(limits: CallerLimits | None, count: int) -> CallerLimits | None:
    """The limits of a caller at one of `count` replicas.

    Each replica allows at least one call at a time. So if there are more replicas than allowed calls, more are open.
    """
    if limits is None:
        return None
    rates = limits.requests_per_minute, limits.input_tokens_per_minute, limits.output_tokens_per_minute
    requests, input_tokens, output_tokens = (None if each is None else each / count for each in rates)
    most = limits.max_concurrent
    return replace(
        limits,
        requests_per_minute=requests,
        input_tokens_per_minute=input_tokens,
        output_tokens_per_minute=output_tokens,
        max_concurrent=None if most is None else max(1, most // count),
    )
