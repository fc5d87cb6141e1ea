"""A scenario: the limits of a simulated API and the events that change them.

All times are seconds since the start of the scenario. `scenario_file.py` reads a scenario from TOML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from msgspec import Struct

from claude_simulator.checks import require_number
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.requests.models import FAMILIES, MODELS
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.distributions import Distribution
from claude_simulator.scenarios.latency import Latency, LatencyDistribution

START_TIER: Final = PoolLimits(
    requests_per_minute=1_000, input_tokens_per_minute=2_000_000, output_tokens_per_minute=400_000
)
"""Limits of each family in the Start tier. Source: Claude Platform Docs "Rate limits", read 2026-10-08."""


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New limits from a time on, for one family or for all. A limit that is None does not change."""

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


class Competitor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another client on the same key. Its requests do not depend on the client under test.

    A request that would fit within `patience_seconds` is charged at once, into debt if necessary, as if it had been
    first in the queue: a greedy client cannot displace a competitor. A request that needs longer, or arrives during an
    outage, is dropped. With the pattern `bursts`, `burst_requests` arrive at once.
    """

    requests_per_minute: float
    pattern: Pattern = Pattern.POISSON
    burst_requests: int = 10
    patience_seconds: float = 2.0
    input_tokens: Distribution = 1_000
    output_tokens: Distribution = 300
    model: str = "claude-sonnet-5-5"
    start_seconds: float = 0.0
    stop_seconds: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "requests_per_minute", above=0)
        require_number(self, "burst_requests", least=1, whole=True)
        require_number(self, "patience_seconds", least=0)
        require_model(self.model)
        _require_period(self)


class Outage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A period in which a share of the requests gets an error that does not concern the quota."""

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
    """The kinds of spend caps. Source: Claude Platform Docs "Claude API errors"."""

    TIER = "tier"  # 429 `enforced_spend_limit_reached`
    CONTRACT = "contract"  # 429 `contract_spend_limit_reached`
    OWN = "own"  # 400: the limit that the customer set


class SpendCap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on the organization's cost over all models. Once reached, requests are refused until `stop_seconds`.

    Cost counts as input is read and output is produced; only new requests are refused.
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
    """The time that the rate-limit headers of a response describe. The documentation does not say which."""

    HEAD = "head"  # when the response head is sent
    ADMISSION = "admission"  # when the request was admitted


class HeaderOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rate-limit headers of responses. Remaining tokens are rounded to the nearest `token_rounding`."""

    visible: bool = True
    retry_after_visible: bool = True
    at: HeadersAt = HeadersAt.HEAD
    token_rounding: int = 1_000

    def __post_init__(self) -> None:
        require_number(self, "token_rounding", least=1, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The limits of a simulated API and the events that change them.

    Args:
        limits: limits of every family that `limits_by_family` does not name.
        limits_by_family: limits of single families, by a name in `models.FAMILIES`.
        fast_limits: limits of each model in fast mode.
        changes: new limits from a time on.
        competitors: other clients on the same key.
        outages: periods in which the API fails; they must not overlap.
        ramp: how fast the usage of a family may grow; None does not limit growth.
        spend_cap: the limit on cost; None sets no limit.
        headers: which rate-limit headers responses carry.
        latency: response times.

    Raises:
        ValueError: a value is outside its range; the message names field, value and range.
    """

    limits: PoolLimits = START_TIER
    limits_by_family: Mapping[str, PoolLimits] = field(default_factory=dict)
    fast_limits: FastLimits = field(default=FastLimits())
    changes: tuple[Change, ...] = ()
    competitors: tuple[Competitor, ...] = ()
    outages: tuple[Outage, ...] = ()
    ramp: RampLimit | None = None
    spend_cap: SpendCap | None = None
    headers: HeaderOptions = field(default=HeaderOptions())
    latency: Latency | LatencyDistribution = field(default=LatencyDistribution())

    def __post_init__(self) -> None:
        for family in self.limits_by_family:
            require_family("limits_by_family", family)
        _require_apart(self.outages)


def require_family(name: str, family: str) -> None:
    """Checks that a field names a model family.

    Raises:
        ValueError: it does not; the message lists all.
    """
    if family not in FAMILIES:
        raise ValueError(f"{name}: {family!r} was given; allowed are {', '.join(FAMILIES)}")


def require_model(model: str) -> None:
    """Checks that a model is simulated.

    Raises:
        ValueError: it is not; the message lists all that are.
    """
    if model not in MODELS:
        raise ValueError(f"model: {model!r} was given; allowed are {', '.join(MODELS)}")


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
