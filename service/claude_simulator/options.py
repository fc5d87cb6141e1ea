"""Options of a simulated API."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from claude_simulator.checks import require_number
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits
from claude_simulator.scenarios.faults import Fault
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import START_TIER, Scenario, require_family

START_TIER_FABLE: Final = PoolLimits(
    requests_per_minute=1_000, input_tokens_per_minute=500_000, output_tokens_per_minute=100_000
)
"""Limits of Fable 5.x in the Start tier (same source). Mythos 5.x has no published figures and gets the same."""


class Clock(Protocol):
    """The simulator's source of time. An event loop with virtual time passes its own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never steps back: drives refills."""

    def wall_seconds(self) -> float:
        """Seconds since 1970-01-01 UTC: used in headers."""


class SystemClock:
    """The system clock."""

    def monotonic_ns(self) -> int:
        """As `time.monotonic_ns`."""
        return time.monotonic_ns()

    def wall_seconds(self) -> float:
        """As `time.time`."""
        return time.time()


class FixedClock:
    """A clock that never advances: limits do not refill, and equal calls get equal bytes.

    Args:
        unix_seconds: the time that it shows, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, unix_seconds: float) -> None:
        self._unix_seconds = unix_seconds

    def monotonic_ns(self) -> int:
        """Always 0."""
        return 0

    def wall_seconds(self) -> float:
        """Always the given time."""
        return self._unix_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """All options of a simulated API.

    Args:
        limits: limits of every family that `limits_by_family` does not name.
        limits_by_family: limits of single families, by a name of `models.FAMILIES`.
        fast_limits: limits of each model in fast mode.
        count_tokens_requests_per_minute: the separate limit of `POST /v1/messages/count_tokens`.
        latency: response times.
        scenario: limits, events and response times; replaces `limits`, `limits_by_family`, `fast_limits` and `latency`.
        faults: faults in force from the start.
        seed: determines ids and random faults.
        rejected_keys: keys that get 401. Every other key is accepted, unless `accepted_keys` is given.
        accepted_keys: the only keys that are accepted; None accepts any.
        max_body_bytes: bodies above this get 413.
        batch_seconds: how long after its creation a batch ends.
        compression: whether JSON and event streams are compressed for clients that accept gzip.
        cached_prefixes: size of the prompt cache; the oldest entries are evicted first.

    Raises:
        ValueError: a value is outside its range; the message names field, value and range. Keys are never shown.
    """

    limits: PoolLimits = START_TIER
    limits_by_family: Mapping[str, PoolLimits] = field(
        default_factory=lambda: {"claude-fable-5": START_TIER_FABLE, "claude-mythos-5": START_TIER_FABLE}
    )
    fast_limits: FastLimits = field(default=FastLimits())
    count_tokens_requests_per_minute: int = 5_000
    latency: Latency = field(default=Latency())
    scenario: Scenario | None = None
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    rejected_keys: frozenset[str] = field(default=frozenset({"invalid-key"}), repr=False)
    accepted_keys: frozenset[str] | None = field(default=None, repr=False)
    max_body_bytes: int = 32 * 1024 * 1024
    batch_seconds: float = 1.0
    compression: bool = False
    cached_prefixes: int = 10_000

    def __post_init__(self) -> None:
        for name in ("count_tokens_requests_per_minute", "max_body_bytes", "cached_prefixes"):
            require_number(self, name, least=1, whole=True)
        require_number(self, "batch_seconds", least=0)
        for family in self.limits_by_family:
            require_family("limits_by_family", family)

    def effective_scenario(self) -> Scenario:
        """Returns the scenario, or builds one from limits and latency, without events."""
        return self.scenario or Scenario(
            limits=self.limits,
            limits_by_family=self.limits_by_family,
            fast_limits=self.fast_limits,
            latency=self.latency,
        )
