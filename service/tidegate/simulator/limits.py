"""The limiter of the simulated API: token buckets that are refilled continuously. Pure: time is an argument.

Model, after Claude Platform Docs "Rate limits" (October 2026): requests, input tokens and output tokens each have a
bucket per model family. Input is estimated when a request starts and corrected while it runs; cache reads are not
counted; output is charged as it is produced and `max_tokens` plays no part. A limit may be enforced over less than a
minute, which makes the bucket smaller and leaves the rate as it is.

Where the documentation is silent, this module decides: a refused request costs nothing; a request is let in while
one output token is left, so output (and a corrected input) may push a bucket into debt, which refill pays off first;
a request larger than its bucket is let in when the bucket is full.

This module shares no code with `tidegate.core`, so that one can judge the other.
"""

from dataclasses import dataclass
from enum import StrEnum


class Dimension(StrEnum):
    """What is limited per minute. The value is the name in rate-limit headers."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input-tokens"
    OUTPUT_TOKENS = "output-tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Limits of one model family.

    `enforcement_seconds` is the period that a full bucket is worth: at 60, a pool that was idle takes a whole
    minute's quota at once; at 1, it takes one second's.

    Raises:
        ValueError: A limit is not a whole number above 0, or the period is outside 0 < s <= 60.
    """

    requests_per_minute: int
    input_tokens_per_minute: int
    output_tokens_per_minute: int
    enforcement_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ValueError(f"{name}: {value!r} was given; a whole number above 0 is allowed")
        if not 0 < self.enforcement_seconds <= 60:
            raise ValueError(f"enforcement_seconds: {self.enforcement_seconds!r} was given; 0 < s <= 60 is allowed")

    def per_minute(self) -> dict[Dimension, int]:
        """The limits by dimension."""
        return {
            Dimension.REQUESTS: self.requests_per_minute,
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }


class TokenBucket:
    """A bucket that starts full and gains `limit_per_minute / 60` a second up to `capacity`. It may go into debt."""

    __slots__ = ("_level", "_updated_seconds", "capacity", "limit_per_minute")

    def __init__(self, *, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity
        self._level = capacity
        self._updated_seconds = now_seconds

    def level(self, now_seconds: float) -> float:
        """What is left at this moment. A clock that steps back counts as one that stands still."""
        if now_seconds > self._updated_seconds:
            gained = (now_seconds - self._updated_seconds) * self.limit_per_minute / 60
            self._level = min(self.capacity, self._level + gained)
            self._updated_seconds = now_seconds
        return self._level

    def take(self, amount: float, now_seconds: float) -> None:
        """Take an amount, into debt if need be. A negative amount gives back, up to the capacity."""
        self._level = min(self.capacity, self.level(now_seconds) - amount)

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """How long refill alone takes to reach this level; 0 when it is reached."""
        return max(0.0, level - self.level(now_seconds)) * 60 / self.limit_per_minute


@dataclass(frozen=True, slots=True)
class DimensionState:
    """One dimension at one moment: limit a minute, what is left (negative in debt), seconds to full replenishment."""

    limit_per_minute: int
    remaining: float
    seconds_until_full: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not let in: the dimension that needs longest, its limit, and how long that takes."""

    dimension: Dimension
    limit_per_minute: int
    wait_seconds: float


@dataclass(slots=True)
class Charge:
    """What one admitted request has been charged so far."""

    input_tokens: int
    output_tokens: int = 0
    finished: bool = False


class Pool:
    """The buckets of one model family, or of one endpoint that limits requests alone, and what they counted."""

    def __init__(
        self, per_minute: dict[Dimension, int], *, now_seconds: float, enforcement_seconds: float = 60.0
    ) -> None:
        self._buckets = {
            dimension: TokenBucket(
                limit_per_minute=limit,
                capacity=max(1.0, limit * enforcement_seconds / 60),
                now_seconds=now_seconds,
            )
            for dimension, limit in per_minute.items()
        }
        self.in_flight = 0
        self.requests = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.rate_limited = 0

    def admit(self, input_tokens_estimate: int, now_seconds: float) -> Charge | Refusal:
        """Let a request in and charge one request and its estimated input, or refuse it and charge nothing."""
        needs = {Dimension.REQUESTS: 1, Dimension.INPUT_TOKENS: input_tokens_estimate, Dimension.OUTPUT_TOKENS: 1}
        refusals = [
            Refusal(dimension, bucket.limit_per_minute, wait_seconds)
            for dimension, bucket in self._buckets.items()
            if (wait_seconds := bucket.seconds_until(min(needs[dimension], bucket.capacity), now_seconds)) > 0
        ]
        if refusals:
            self.rate_limited += 1
            return max(refusals, key=lambda refusal: refusal.wait_seconds)
        self._take(Dimension.REQUESTS, 1, now_seconds)
        self._take(Dimension.INPUT_TOKENS, input_tokens_estimate, now_seconds)
        self.requests += 1
        self.input_tokens += input_tokens_estimate
        self.in_flight += 1
        return Charge(input_tokens=input_tokens_estimate)

    def correct_input(self, charge: Charge, input_tokens: int, now_seconds: float) -> None:
        """Replace the estimate by what was really read: input and cache writes, without cache reads."""
        difference = input_tokens - charge.input_tokens
        self._take(Dimension.INPUT_TOKENS, difference, now_seconds)
        self.input_tokens += difference
        charge.input_tokens = input_tokens

    def produce(self, charge: Charge, output_tokens: int, now_seconds: float) -> None:
        """Charge output tokens at the moment at which they come to be."""
        self._take(Dimension.OUTPUT_TOKENS, output_tokens, now_seconds)
        self.output_tokens += output_tokens
        charge.output_tokens += output_tokens

    def finish(self, charge: Charge) -> None:
        """The request is over. Finishing twice is the same as once."""
        if not charge.finished:
            charge.finished = True
            self.in_flight -= 1

    def state(self, now_seconds: float) -> dict[Dimension, DimensionState]:
        """Every dimension as it is at this moment."""
        return {
            dimension: DimensionState(
                limit_per_minute=bucket.limit_per_minute,
                remaining=bucket.level(now_seconds),
                seconds_until_full=bucket.seconds_until(bucket.capacity, now_seconds),
            )
            for dimension, bucket in self._buckets.items()
        }

    def _take(self, dimension: Dimension, amount: float, now_seconds: float) -> None:
        bucket = self._buckets.get(dimension)
        if bucket is not None:
            bucket.take(amount, now_seconds)
