"""The buckets of one model family, and the usage charged to them. Pure: time is an argument.

`pool_limits.py` states the rules.
"""

from dataclasses import dataclass

from claude_simulator.limits.buckets import Bucket, TokenBucket, WindowBucket
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import DimensionState, Refill
from claude_simulator.limits.ramp import RampLimit, RampMeter
from claude_simulator.limits.rejections import RateLimited


class Tally:
    """The usage of one party in a pool, and the counts of its requests.

    `outflow_per_second` is the total output rate of its `flows`: the responses whose output is charged continuously.
    """

    __slots__ = (
        "_output_tokens",
        "_updated_seconds",
        "flows",
        "in_flight",
        "input_tokens",
        "outflow_per_second",
        "rate_limited",
        "requests",
    )

    def __init__(self, now_seconds: float) -> None:
        self.requests = 0
        self.input_tokens = 0
        self.rate_limited = 0
        self.in_flight = 0
        self.flows = 0
        self.outflow_per_second = 0.0
        self._output_tokens = 0.0
        self._updated_seconds = now_seconds

    def output_tokens(self, now_seconds: float) -> float:
        """The output tokens produced up to now."""
        self._output_tokens += max(0.0, now_seconds - self._updated_seconds) * self.outflow_per_second
        self._updated_seconds = max(now_seconds, self._updated_seconds)
        return self._output_tokens

    def add_output(self, tokens: float, now_seconds: float) -> None:
        """Counts output that was produced at once."""
        self._output_tokens = self.output_tokens(now_seconds) + tokens

    def charged(self, now_seconds: float) -> dict[Dimension, float]:
        """Total usage up to now, by dimension."""
        return {
            Dimension.REQUESTS: self.requests,
            Dimension.INPUT_TOKENS: self.input_tokens,
            Dimension.OUTPUT_TOKENS: self.output_tokens(now_seconds),
        }


@dataclass(slots=True)
class Charge:
    """One admitted request: the party charged, the input charged so far, and the present output rate."""

    tally: Tally
    input_tokens: int
    tokens_per_second: float = 0.0
    finished: bool = False


class Pool:
    """The buckets of one model family, or of one endpoint that limits requests alone.

    `own` counts the usage of the clients under test, `others` that of competitors on the same key.
    """

    def __init__(
        self,
        per_minute: dict[Dimension, int],
        *,
        now_seconds: float,
        enforcement_seconds: float = 60.0,
        refill: Refill = Refill.CONTINUOUS,
        ramp: RampLimit | None = None,
    ) -> None:
        self._enforcement_seconds = enforcement_seconds
        self.buckets = {dimension: self._bucket(limit, refill, now_seconds) for dimension, limit in per_minute.items()}
        self.ramp = None if ramp is None else RampMeter(ramp, now_seconds)
        self.own = Tally(now_seconds)
        self.others = Tally(now_seconds)

    def admit(self, input_tokens_estimate: int, now_seconds: float) -> Charge | RateLimited:
        """Admits a request under test and charges its estimate, or refuses it and charges nothing."""
        refusal = self.rate_limit(input_tokens_estimate, now_seconds)
        if refusal is not None:
            self.own.rate_limited += 1
            return refusal
        return self.charge(self.own, input_tokens_estimate, now_seconds)

    def charge(self, tally: Tally, input_tokens_estimate: int, now_seconds: float) -> Charge:
        """Charges one request and its estimated input to a party, whether it fits or not."""
        self._take(Dimension.REQUESTS, 1, now_seconds)
        self._take(Dimension.INPUT_TOKENS, input_tokens_estimate, now_seconds)
        tally.requests += 1
        tally.input_tokens += input_tokens_estimate
        tally.in_flight += 1
        return Charge(tally, input_tokens_estimate)

    def rate_limit(self, input_tokens_estimate: int, now_seconds: float) -> RateLimited | None:
        """The limit that would refuse a request now; None if it would be admitted."""
        longest: RateLimited | None = None
        for dimension, bucket in self.buckets.items():
            wait_seconds = bucket.seconds_until(needed_level(dimension, bucket, input_tokens_estimate), now_seconds)
            if wait_seconds > (0 if longest is None else longest.wait_seconds):
                longest = RateLimited(dimension, bucket.limit_per_minute, wait_seconds)
        if longest is not None or self.ramp is None:
            return longest
        wait_seconds = self.ramp_wait_seconds(input_tokens_estimate, now_seconds)
        if wait_seconds == 0:
            return None
        allowed = int(self.ramp.allowed_per_minute(now_seconds))
        return RateLimited(self.ramp.limit.dimension, allowed, wait_seconds, ramp=True)

    def ramp_wait_seconds(self, input_tokens_estimate: int, now_seconds: float) -> float:
        """Time for which the ramp limit delays a request; 0 without one."""
        if self.ramp is None:
            return 0.0
        amount = 1 if self.ramp.limit.dimension is Dimension.REQUESTS else input_tokens_estimate
        return self.ramp.seconds_until_fits(amount, now_seconds)

    def correct_input(self, charge: Charge, input_tokens: int, now_seconds: float) -> None:
        """Replaces the estimate by the true input: input and cache writes, without cache reads."""
        difference = input_tokens - charge.input_tokens
        self._take(Dimension.INPUT_TOKENS, difference, now_seconds)
        charge.tally.input_tokens += difference
        charge.input_tokens = input_tokens

    def produce(self, charge: Charge, output_tokens: float, now_seconds: float) -> None:
        """Charges output tokens when they are produced."""
        self._take(Dimension.OUTPUT_TOKENS, output_tokens, now_seconds)
        charge.tally.add_output(output_tokens, now_seconds)

    def set_output_rate(self, charge: Charge, tokens_per_second: float, now_seconds: float) -> None:
        """Charges a request's output continuously at this rate from now on; 0 stops it."""
        bucket, tally = self.buckets[Dimension.OUTPUT_TOKENS], charge.tally
        bucket.level(now_seconds)
        tally.output_tokens(now_seconds)
        tally.flows += (tokens_per_second > 0) - (charge.tokens_per_second > 0)
        change = tokens_per_second - charge.tokens_per_second
        # Without flows the rate is exactly 0, so that rounding errors do not accumulate.
        tally.outflow_per_second = tally.outflow_per_second + change if tally.flows else 0.0
        bucket.outflow_per_second = self.own.outflow_per_second + self.others.outflow_per_second
        charge.tokens_per_second = tokens_per_second

    def finish(self, charge: Charge, now_seconds: float) -> None:
        """Ends a request. Idempotent."""
        if charge.finished:
            return
        charge.finished = True
        charge.tally.in_flight -= 1
        if charge.tokens_per_second:
            self.set_output_rate(charge, 0, now_seconds)

    def set_limits(self, per_minute: dict[Dimension, int], now_seconds: float) -> None:
        """Changes the limits of these dimensions."""
        for dimension, limit in per_minute.items():
            self.buckets[dimension].set_limit(limit, self._capacity(limit), now_seconds)

    def state(self, now_seconds: float) -> dict[Dimension, DimensionState]:
        """The present state of every dimension."""
        return {
            dimension: DimensionState(
                bucket.limit_per_minute, bucket.level(now_seconds), bucket.seconds_until_full(now_seconds)
            )
            for dimension, bucket in self.buckets.items()
        }

    def _capacity(self, limit_per_minute: int) -> float:
        return capacity_of(limit_per_minute, self._enforcement_seconds)

    def _bucket(self, limit: int, refill: Refill, now_seconds: float) -> Bucket:
        if refill is Refill.CONTINUOUS:
            return TokenBucket(limit_per_minute=limit, capacity=self._capacity(limit), now_seconds=now_seconds)
        return WindowBucket(
            limit_per_minute=limit,
            capacity=self._capacity(limit),
            now_seconds=now_seconds,
            window_seconds=self._enforcement_seconds,
        )

    def _take(self, dimension: Dimension, amount: float, now_seconds: float) -> None:
        bucket = self.buckets.get(dimension)
        if bucket is not None and amount:
            bucket.take(amount, now_seconds)
        if self.ramp is not None and self.ramp.limit.dimension is dimension and amount:
            self.ramp.record(amount, now_seconds)


def capacity_of(limit_per_minute: int, enforcement_seconds: float) -> float:
    """The capacity of a bucket."""
    return max(1.0, limit_per_minute * enforcement_seconds / 60)


def needed_level(dimension: Dimension, bucket: Bucket, input_tokens_estimate: int) -> float:
    """The level at which a request is admitted."""
    return min(input_tokens_estimate if dimension is Dimension.INPUT_TOKENS else 1, bucket.capacity)
