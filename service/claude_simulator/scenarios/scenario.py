"""A situation to be simulated: the limits, what happens to them, and who asks for what.

All moments are seconds from the beginning of the scenario. `scenario_file.py` reads it from TOML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from claude_simulator.checks import require_number
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.limits import FastLimits, PoolLimits
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.requests.models import FAMILIES
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.distributions import Constant, Distribution
from claude_simulator.scenarios.latency import Latency, LatencyDistribution
from claude_simulator.scenarios.workload import Lengths, Workload, require_model

START_TIER: Final = PoolLimits(
    requests_per_minute=1_000, input_tokens_per_minute=2_000_000, output_tokens_per_minute=400_000
)
"""Limits of each family in the Start tier. Source: Claude Platform Docs "Rate limits", read 2026-10-08."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Other limits from a moment on, for every family or for one; what is None stays as it was."""

    at_seconds: float
    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    family: str | None = None

    def __post_init__(self) -> None:
        require_number(self, "at_seconds", least=0)
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute"):
            require_number(self, name, above=0, whole=True, optional=True)
        if self.family is not None:
            require_family("family", self.family)

    def per_minute(self) -> dict[Dimension, int]:
        """The limits that change, by dimension."""
        limits = {
            Dimension.REQUESTS: self.requests_per_minute,
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }
        return {dimension: limit for dimension, limit in limits.items() if limit is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """Somebody else on the same key, whose requests do not depend on what the client under test does.

    One that would fit within `patience_seconds` is charged at once, into debt if need be, as though it had stood first
    in line: so that a greedy client cannot push a competitor aside. One that needs longer, or meets an outage, is gone.
    `burst_requests` is how many come at once with the pattern `bursts`.
    """

    requests_per_minute: float
    pattern: Pattern = Pattern.POISSON
    burst_requests: int = 10
    patience_seconds: float = 2.0
    input_tokens: Distribution = field(default=Constant(1_000))
    output_tokens: Distribution = field(default=Constant(300))
    model: str = "claude-sonnet-5-5"
    start_seconds: float = 0.0
    stop_seconds: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "requests_per_minute", above=0)
        require_number(self, "burst_requests", least=1, whole=True)
        require_number(self, "patience_seconds", least=0)
        require_model(self.model)
        _require_period(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which requests, all or a share of them, get an error that is not about quota."""

    start_seconds: float
    stop_seconds: float | None = None
    share: float = 1.0
    status: int = 529

    def __post_init__(self) -> None:
        _require_period(self)
        require_number(self, "share", above=0, most=1)
        if self.status not in (500, 503, 504, 529):
            raise ValueError(f"status: {self.status!r} was given; 500, 503, 504 or 529 is allowed")


class SpendCapKind(StrEnum):
    """Whose cap it is. Source: Claude Platform Docs "Claude API errors"."""

    TIER = "tier"  # 429 `enforced_spend_limit_reached`
    CONTRACT = "contract"  # 429 `contract_spend_limit_reached`
    OWN = "own"  # 400: the limit that the customer set


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendCap:
    """What the organisation may spend over all models; after that every request is refused, until `stop_seconds`.

    What an answer costs is spent as it comes; a request that finds the cap reached is refused.
    """

    usd: float
    usd_per_million_input_tokens: float = 2.0
    usd_per_million_output_tokens: float = 10.0
    kind: SpendCapKind = SpendCapKind.TIER
    stop_seconds: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "usd", least=0)
        require_number(self, "usd_per_million_input_tokens", least=0)
        require_number(self, "usd_per_million_output_tokens", least=0)
        require_number(self, "stop_seconds", above=0, optional=True)


class HeadersAt(StrEnum):
    """Which moment the rate-limit headers of an answer describe. The documentation does not say."""

    HEAD = "head"  # when the head of the answer is sent
    ADMISSION = "admission"  # when the request was let in


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderOptions:
    """What answers tell about limits. Tokens that remain are rounded to the nearest `token_rounding`."""

    visible: bool = True
    retry_after_visible: bool = True
    at: HeadersAt = HeadersAt.HEAD
    token_rounding: int = 1_000

    def __post_init__(self) -> None:
        require_number(self, "token_rounding", least=1, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A situation to be simulated.

    Args:
        limits: Limits of every family that `limits_by_family` does not name.
        limits_by_family: Limits of single families, by a name of `models.FAMILIES`.
        fast_limits: Limits of each model in fast mode.
        changes: Limits that change.
        competitors: Others on the same key.
        outages: Times in which the API fails.
        ramp: How fast the use of a family may grow; None: as fast as it likes.
        spend_cap: What may be spent; None: any amount.
        headers: What answers tell about limits.
        latency: How long answers take.
        lengths: Sizes of requests, where a workload does not say.
        workloads: The callers.
        duration_seconds: How long it lasts.
        replicas: How many processes share the key.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range.
    """

    limits: PoolLimits = START_TIER
    limits_by_family: Mapping[str, PoolLimits] = field(default_factory=dict)
    fast_limits: FastLimits = field(default=FastLimits())
    changes: tuple[Change, ...] = ()
    competitors: tuple[Competitor, ...] = ()
    outages: tuple[Outage, ...] = ()
    ramp: RampLimit | None = None
    spend_cap: SpendCap | None = None
    headers: HeaderOptions = HeaderOptions()
    latency: Latency | LatencyDistribution = field(default=LatencyDistribution())
    lengths: Lengths = field(default=Lengths())
    workloads: tuple[Workload, ...] = ()
    duration_seconds: float = 120.0
    replicas: int = 1

    def __post_init__(self) -> None:
        require_number(self, "duration_seconds", above=0)
        require_number(self, "replicas", least=1, whole=True)
        for family in self.limits_by_family:
            require_family("limits_by_family", family)
        _require_apart(self.outages)
        names = [workload.name for workload in self.workloads]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"workload: the name {name!r} was given twice; each caller has one of its own")


def require_family(name: str, family: str) -> None:
    """Check that a field names a model family.

    Raises:
        ValueError: It does not; the message lists all.
    """
    if family not in FAMILIES:
        raise ValueError(f"{name}: {family!r} was given; allowed are {', '.join(FAMILIES)}")


def _require_period(owner: Competitor | Outage) -> None:
    require_number(owner, "start_seconds", least=0)
    require_number(owner, "stop_seconds", above=owner.start_seconds, optional=True)


def _require_apart(outages: tuple[Outage, ...]) -> None:
    in_order = sorted(outages, key=lambda outage: outage.start_seconds)
    for one, next_one in pairwise(in_order):
        if one.stop_seconds is None or next_one.start_seconds < one.stop_seconds:
            raise ValueError(
                f"outages: one that starts at {next_one.start_seconds:g} was given; the one before must stop first"
            )
