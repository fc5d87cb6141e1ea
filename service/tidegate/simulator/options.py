"""How a simulated API is set up."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tidegate.simulator.faults import Fault
from tidegate.simulator.limits import Dimension, PoolLimits
from tidegate.simulator.models import FAMILIES

START_TIER: Final = PoolLimits(
    requests_per_minute=1_000, input_tokens_per_minute=2_000_000, output_tokens_per_minute=400_000
)
"""Limits of each family in the Start tier. Source: Claude Platform Docs "Rate limits", read 2026-10-08."""

START_TIER_FABLE: Final = PoolLimits(
    requests_per_minute=1_000, input_tokens_per_minute=500_000, output_tokens_per_minute=100_000
)
"""Limits of Fable 5.x in the Start tier (same source). Mythos 5.x has no published figures and gets the same."""


class Clock(Protocol):
    """Where the simulator takes its time from. A virtual-time event loop passes its own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never steps back: drives refills."""

    def wall_seconds(self) -> float:
        """Seconds since 1970-01-01 UTC: dates headers."""


class SystemClock:
    """The clock of the machine."""

    def monotonic_ns(self) -> int:
        """As `time.monotonic_ns`."""
        return time.monotonic_ns()

    def wall_seconds(self) -> float:
        """As `time.time`."""
        return time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers take. Zero never waits.

    Raises:
        ValueError: A value is negative or not finite.
    """

    first_token_seconds: float = 0.02
    per_token_seconds: float = 0.0005

    def __post_init__(self) -> None:
        for name in ("first_token_seconds", "per_token_seconds"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: {value!r} was given; a finite number from 0 is allowed")


NO_LATENCY: Final = Latency(first_token_seconds=0, per_token_seconds=0)
"""For tests: every answer comes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Everything that can be chosen about a simulated API.

    Args:
        limits: Limits of every family that `limits_by_family` does not name.
        limits_by_family: Limits of single families, by a name of `models.FAMILIES`.
        count_tokens_requests_per_minute: The separate limit of `POST /v1/messages/count_tokens`.
        latency: How long answers take.
        faults: Faults in force from the start.
        seed: Makes ids and probabilistic faults repeat.
        rejected_keys: Keys that get 401. Every other key is accepted, unless `accepted_keys` is given.
        accepted_keys: The only keys that are accepted; None accepts any.
        max_body_bytes: Bodies above this get 413.
        cached_prefixes: How many prompt prefixes are remembered; the oldest are forgotten first.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range. Keys are never shown.
    """

    limits: PoolLimits = START_TIER
    limits_by_family: Mapping[str, PoolLimits] = field(
        default_factory=lambda: {"claude-fable-5": START_TIER_FABLE, "claude-mythos-5": START_TIER_FABLE}
    )
    count_tokens_requests_per_minute: int = 5_000
    latency: Latency = Latency()
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    rejected_keys: frozenset[str] = field(default=frozenset({"invalid-key"}), repr=False)
    accepted_keys: frozenset[str] | None = field(default=None, repr=False)
    max_body_bytes: int = 32 * 1024 * 1024
    cached_prefixes: int = 10_000

    def __post_init__(self) -> None:
        for name in ("count_tokens_requests_per_minute", "max_body_bytes", "cached_prefixes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} was given; a whole number from 1 is allowed")
        for family in self.limits_by_family:
            if family not in FAMILIES:
                raise ValueError(f"limits_by_family: {family!r} was given; allowed are {', '.join(FAMILIES)}")

    def limits_per_minute(self) -> dict[str, tuple[dict[Dimension, int], float]]:
        """Limits and enforcement seconds of every pool by its name, `count_tokens` among them."""
        pools = {
            family: (limits.per_minute(), limits.enforcement_seconds)
            for family in FAMILIES
            for limits in (self.limits_by_family.get(family, self.limits),)
        }
        return {**pools, "count_tokens": ({Dimension.REQUESTS: self.count_tokens_requests_per_minute}, 60.0)}
