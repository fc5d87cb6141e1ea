"""Random scenarios by kind, against tuning for the fixed ones."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

from benchmarks.goodput.scenario import LoadScenario
from benchmarks.goodput.workload import Lengths, Workload, WorkloadKind
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import PoolLimits
from claude_simulator.scenarios.distributions import LogNormal
from claude_simulator.scenarios.scenario import Change, Competitor, HeaderOptions, Scenario

__all__ = ["KINDS", "random_scenario"]

_AMPLE: Final = 40
"""Limits that must not bind are this many times the load."""
_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 10
"""Upper estimate of a response time: enough workers for this time keep a pool saturated."""
_HIDDEN: Final = HeaderOptions(visible=False)


class _Pool(NamedTuple):
    """The parameters of a pool that differ between kinds."""

    requests_per_minute: float
    binding: Dimension
    enforcement_seconds: float
    input_tokens: float
    output_tokens: float


def random_scenario(kind: str, number: int) -> LoadScenario:
    """Create a scenario of a kind; the same number gives the same scenario."""
    return KINDS[kind](Random(f"{kind} {number}"))  # noqa: S311 - a simulation


def _draw(rng: Random, *, least: float, most: float, shallow: bool) -> _Pool:
    rate = least * (most / least) ** rng.random()
    return _Pool(
        rate,
        rng.choice((Dimension.REQUESTS, Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS)),
        rng.choice((1.0, 2.0)) if shallow else rng.choice((6.0, 15.0, 30.0)),
        rng.choice((300.0, 1_000.0, 4_000.0)),
        rng.choice((100.0, 200.0, 400.0)),
    )


def _per_minute(pool: _Pool, dimension: Dimension, rate: float) -> int:
    """The limit of a dimension that allows this rate of requests, or a much higher one if it must not bind."""
    mean_of_lognormal = 1.2  # of its median, for sigma 0.6
    each = {
        Dimension.REQUESTS: 1.0,
        Dimension.INPUT_TOKENS: pool.input_tokens * mean_of_lognormal,
        Dimension.OUTPUT_TOKENS: pool.output_tokens * mean_of_lognormal,
    }
    return max(1, round(each[dimension] * rate * (1 if dimension is pool.binding else _AMPLE)))


def _scenario(
    pool: _Pool,
    headers: HeaderOptions = _HIDDEN,
    changes: tuple[Change, ...] = (),
    competitors: tuple[Competitor, ...] = (),
) -> LoadScenario:
    rate = pool.requests_per_minute
    limits = PoolLimits(
        requests_per_minute=_per_minute(pool, Dimension.REQUESTS, rate),
        input_tokens_per_minute=_per_minute(pool, Dimension.INPUT_TOKENS, rate),
        output_tokens_per_minute=_per_minute(pool, Dimension.OUTPUT_TOKENS, rate),
        enforcement_seconds=pool.enforcement_seconds,
    )
    return LoadScenario(
        upstream=Scenario(limits=limits, headers=headers, changes=changes, competitors=competitors),
        lengths=Lengths(
            input_tokens=LogNormal(median=pool.input_tokens, sigma=0.6, max=20 * pool.input_tokens),
            output_tokens=LogNormal(median=pool.output_tokens, sigma=0.6, max=20 * pool.output_tokens),
        ),
        workloads=(
            Workload(
                name="team",
                kind=WorkloadKind.WORKERS,
                workers=max(10, round(rate / 60 * _ANSWER_SECONDS * 2)),
                deadline_seconds=120.0,
            ),
        ),
        duration_seconds=_SECONDS,
    )


def _shallow(rng: Random) -> LoadScenario:
    return _scenario(_draw(rng, least=40, most=900, shallow=True))


def _deep(rng: Random) -> LoadScenario:
    return _scenario(_draw(rng, least=40, most=900, shallow=False))


def _silent(rng: Random) -> LoadScenario:
    silent = HeaderOptions(visible=False, retry_after_visible=False)
    return _scenario(_draw(rng, least=60, most=900, shallow=rng.random() < 0.5), silent)


def _changes(rng: Random) -> LoadScenario:
    pool = _draw(rng, least=100, most=600, shallow=rng.random() < 0.3)
    factor, moments = 1.0, (rng.uniform(60, 140), rng.uniform(160, 240))
    changes = []
    for moment in moments:
        factor = min(2.5, max(0.3, factor * rng.choice((0.4, 0.5, 0.7, 1.4, 2.0, 2.5))))
        limit = _per_minute(pool, pool.binding, factor * pool.requests_per_minute)
        changes.append(_change(moment, pool.binding, limit))
    return _scenario(pool, changes=tuple(changes))


def _change(at_seconds: float, binding: Dimension, limit: int) -> Change:
    match binding:
        case Dimension.REQUESTS:
            return Change(at_seconds=at_seconds, requests_per_minute=limit)
        case Dimension.INPUT_TOKENS:
            return Change(at_seconds=at_seconds, input_tokens_per_minute=limit)
        case Dimension.OUTPUT_TOKENS:
            return Change(at_seconds=at_seconds, output_tokens_per_minute=limit)


def _competitors(rng: Random) -> LoadScenario:
    pool = _draw(rng, least=100, most=600, shallow=rng.random() < 0.3)
    comes, goes = rng.uniform(50, 120), rng.uniform(150, 230)
    rival = Competitor(
        requests_per_minute=pool.requests_per_minute * rng.uniform(0.2, 0.6),
        start_seconds=comes,
        stop_seconds=goes,
        input_tokens=round(pool.input_tokens * 1.2),
        output_tokens=round(pool.output_tokens * 1.2),
    )
    return _scenario(pool, competitors=(rival,))


KINDS: Final[Mapping[str, Callable[[Random], LoadScenario]]] = {
    "hidden_shallow": _shallow,
    "hidden_deep": _deep,
    "hidden_silent": _silent,
    "hidden_changes": _changes,
    "hidden_competitors": _competitors,
}
"""Limits without headers: with shallow buckets (a second or two), deep buckets, without `retry-after`, with changes,
and with a competitor. Requests, input or output tokens bind."""
