"""One model family's buckets, and who was charged what. Pure: time is an argument. The rules are in `limits.py`."""

from dataclasses import dataclass

from claude_simulator.limits.buckets import Bucket, TokenBucket, WindowBucket
from claude_simulator.limits.denials import Refusal
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.limits import DimensionState, Refill
from claude_simulator.limits.ramp import RampLimit, RampMeter


class Tally:
    """What one party has been charged in a pool, and what became of its requests.

    `outflow_per_second` is the output that it is being charged continuously, for as many answers as there are `flows`.
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
        """The output tokens produced up to this moment."""
        self._output_tokens += max(0.0, now_seconds - self._updated_seconds) * self.outflow_per_second
        self._updated_seconds = max(now_seconds, self._updated_seconds)
        return self._output_tokens

    def add_output(self, tokens: float, now_seconds: float) -> None:
        """Count output that came all at once."""
        self._output_tokens = self.output_tokens(now_seconds) + tokens

    def charged(self, now_seconds: float) -> dict[Dimension, float]:
        """Everything charged up to this moment, by dimension."""
        return {
            Dimension.REQUESTS: self.requests,
            Dimension.INPUT_TOKENS: self.input_tokens,
            Dimension.OUTPUT_TOKENS: self.output_tokens(now_seconds),
        }


@dataclass(slots=True)
class Charge:
    """One admitted request: who pays, its input as charged so far, and the rate at which it produces output now."""

    tally: Tally
    input_tokens: int
    tokens_per_second: float = 0.0
    finished: bool = False


class Pool:
    """The buckets of one model family, or of one endpoint that limits requests alone.

    `own` counts the requests under test, `others` those of competitors on the same key.
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

    def admit(self, input_tokens_estimate: int, now_seconds: float) -> Charge | Refusal:
        """Let a request under test in and charge what is known of it, or refuse it and charge nothing."""
        refusal = self.refusal(input_tokens_estimate, now_seconds)
        if refusal is not None:
            self.own.rate_limited += 1
            return refusal
        return self.charge(self.own, input_tokens_estimate, now_seconds)

    def charge(self, tally: Tally, input_tokens_estimate: int, now_seconds: float) -> Charge:
        """Charge somebody one request and its estimated input, whether it fits or not."""
        self._take(Dimension.REQUESTS, 1, now_seconds)
        self._take(Dimension.INPUT_TOKENS, input_tokens_estimate, now_seconds)
        tally.requests += 1
        tally.input_tokens += input_tokens_estimate
        tally.in_flight += 1
        return Charge(tally, input_tokens_estimate)

    def refusal(self, input_tokens_estimate: int, now_seconds: float) -> Refusal | None:
        """Why a request would be refused at this moment; None if it would be let in. Changes nothing."""
        longest: Refusal | None = None
        for dimension, bucket in self.buckets.items():
            wait_seconds = bucket.seconds_until(_need(dimension, bucket, input_tokens_estimate), now_seconds)
            if wait_seconds > (0 if longest is None else longest.wait_seconds):
                longest = Refusal(dimension, bucket.limit_per_minute, wait_seconds)
        if longest is not None or self.ramp is None:
            return longest
        wait_seconds = self._ramp_wait_seconds(self.ramp, input_tokens_estimate, now_seconds)
        if wait_seconds == 0:
            return None
        allowed = int(self.ramp.allowed_per_minute(now_seconds))
        return Refusal(self.ramp.limit.dimension, allowed, wait_seconds, ramp=True)

    def seconds_until_fits(self, input_tokens_estimate: int, now_seconds: float) -> float:
        """How long until a request would be let in while answers under way go on as they do; infinite for never."""
        waits = [
            bucket.reached_in_seconds(_need(dimension, bucket, input_tokens_estimate), now_seconds)
            for dimension, bucket in self.buckets.items()
        ]
        if self.ramp is not None:
            waits.append(self._ramp_wait_seconds(self.ramp, input_tokens_estimate, now_seconds))
        return max(waits)

    def correct_input(self, charge: Charge, input_tokens: int, now_seconds: float) -> None:
        """Replace the estimate by what was really read: input and cache writes, without cache reads."""
        difference = input_tokens - charge.input_tokens
        self._take(Dimension.INPUT_TOKENS, difference, now_seconds)
        charge.tally.input_tokens += difference
        charge.input_tokens = input_tokens

    def produce(self, charge: Charge, output_tokens: float, now_seconds: float) -> None:
        """Charge output tokens at the moment at which they come to be."""
        self._take(Dimension.OUTPUT_TOKENS, output_tokens, now_seconds)
        charge.tally.add_output(output_tokens, now_seconds)

    def set_output_rate(self, charge: Charge, tokens_per_second: float, now_seconds: float) -> None:
        """From now on, charge a request's output continuously at this rate; 0 ends that."""
        bucket, tally = self.buckets[Dimension.OUTPUT_TOKENS], charge.tally
        bucket.level(now_seconds)
        tally.output_tokens(now_seconds)
        tally.flows += (tokens_per_second > 0) - (charge.tokens_per_second > 0)
        change = tokens_per_second - charge.tokens_per_second
        # When the last flow ends nothing is left of it: no rounding error goes on for ever.
        tally.outflow_per_second = tally.outflow_per_second + change if tally.flows else 0.0
        bucket.outflow_per_second = self.own.outflow_per_second + self.others.outflow_per_second
        charge.tokens_per_second = tokens_per_second

    def finish(self, charge: Charge, now_seconds: float) -> None:
        """The request is over. Finishing twice is the same as once."""
        if charge.finished:
            return
        charge.finished = True
        charge.tally.in_flight -= 1
        if charge.tokens_per_second:
            self.set_output_rate(charge, 0, now_seconds)

    def set_limits(self, per_minute: dict[Dimension, int], now_seconds: float) -> None:
        """Put other limits in force for the dimensions named."""
        for dimension, limit in per_minute.items():
            self.buckets[dimension].set_limit(limit, self._capacity(limit), now_seconds)

    def attainable(self, now_seconds: float) -> dict[Dimension, float]:
        """What the buckets granted up to this moment, by dimension, less what competitors were charged."""
        taken = self.others.charged(now_seconds)
        return {
            dimension: bucket.granted_until(now_seconds) - taken[dimension]
            for dimension, bucket in self.buckets.items()
        }

    def state(self, now_seconds: float) -> dict[Dimension, DimensionState]:
        """Every dimension as it is at this moment."""
        return {
            dimension: DimensionState(
                bucket.limit_per_minute, bucket.level(now_seconds), bucket.seconds_until_full(now_seconds)
            )
            for dimension, bucket in self.buckets.items()
        }

    @staticmethod
    def _ramp_wait_seconds(ramp: RampMeter, input_tokens_estimate: int, now_seconds: float) -> float:
        amount = 1 if ramp.limit.dimension is Dimension.REQUESTS else input_tokens_estimate
        return ramp.seconds_until_fits(amount, now_seconds)

    def _capacity(self, limit_per_minute: int) -> float:
        return max(1.0, limit_per_minute * self._enforcement_seconds / 60)

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


def _need(dimension: Dimension, bucket: Bucket, input_tokens_estimate: int) -> float:
    """What must be left for a request to be let in."""
    return min(input_tokens_estimate if dimension is Dimension.INPUT_TOKENS else 1, bucket.capacity)
