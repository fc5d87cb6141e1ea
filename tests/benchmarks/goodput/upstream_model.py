"""The simulated API without HTTP, for runs on virtual time. Pure: time and randomness are arguments.

    upstream = SimulatedUpstream(scenario, random.Random(1), start_seconds=0)
    outcome = upstream.attempt(request, now_seconds=0)
    if isinstance(outcome, Accepted):
        ...  # the head is sent at outcome.first_token_seconds with upstream.head_headers(outcome, that time)
        ...  # the response ends at outcome.finish_seconds; upstream.leave(...) for a client that disconnects

The consequences of an accepted request (its input corrected at the first token, its output charged as it is produced)
occur when time passes. Calls must be in order of time.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from benchmarks.goodput.attainable import AttainableUsage
from benchmarks.goodput.oracle_wait import seconds_until_fits
from benchmarks.goodput.ramp_bound import RampBound
from benchmarks.goodput.workload import RequestShape
from claude_simulator.answers.cache import TTL_SECONDS, InputUse
from claude_simulator.header_names import RETRY_AFTER
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.headers import rate_limit_headers
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.limits.pool_limits import input_tokens_estimate
from claude_simulator.limits.quota import Quota, scenario_pools
from claude_simulator.limits.rejections import OutageFailure, RateLimited, Rejection, SpendCapReached
from claude_simulator.requests.models import MODELS
from claude_simulator.scenarios.distributions import branch
from claude_simulator.scenarios.scenario import HeadersAt, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An admitted request: the times of its response, and its usage."""

    request: RequestShape
    first_token_seconds: float
    finish_seconds: float
    input_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    charge: Charge = field(repr=False)
    headers_of_admission: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def output_tokens(self) -> int:
        """Tokens of the response."""
        return self.request.output_tokens


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected request. `headers` are those of the response, with `retry-after` unless it is hidden.

    `dimension` is the exhausted limit. It is for reports: a client cannot see it.
    """

    status: int
    retry_after_seconds: int | None
    error_code: str | None
    headers: Mapping[str, str]
    dimension: Dimension | None


@dataclass(frozen=True, slots=True)
class DimensionView:
    """The true state of one dimension. `level` is negative in debt."""

    level: float
    limit_per_minute: int
    capacity: float
    outflow_per_second: float


class SimulatedUpstream:
    """The API under a scenario that starts at `start_seconds`.

    Args:
        scenario: The scenario.
        rng: Determines the run.
        start_seconds: Start of the scenario, on the clock of all `now_seconds`.
        duration_seconds: How long `attainable` is exact under a ramp limit.
        unix_offset_seconds: Unix time minus that clock, for `reset` headers.
    """

    def __init__(
        self,
        scenario: Scenario,
        rng: random.Random,
        start_seconds: float,
        *,
        duration_seconds: float = 120.0,
        unix_offset_seconds: float = 0.0,
    ) -> None:
        self._scenario = scenario
        self._unix_offset_seconds = unix_offset_seconds
        self._latency_rng = branch(rng)
        self._prefixes: dict[tuple[str, str], float] = {}
        self._quota = Quota(scenario_pools(scenario, start_seconds), scenario, rng, start_seconds)
        self._attainable = AttainableUsage(self._quota, scenario, start_seconds)
        self._ramp_bounds: dict[str, RampBound] = {}
        if scenario.ramp is not None:
            for family, pool in self._quota.pools.items():
                self._ramp_bounds[family] = RampBound(pool, scenario.ramp, start_seconds)
        self._ramp_step_seconds = start_seconds
        self._end_seconds = start_seconds + duration_seconds

    def attempt(self, request: RequestShape, now_seconds: float) -> Accepted | Rejected:
        """Send a request."""
        self._advance(now_seconds)
        pool = self._pool(request.model)
        use = self._input_use(request, now_seconds)
        outcome = self._quota.admit(pool, input_tokens_estimate(use.charged, request.characters_per_token), now_seconds)
        if not isinstance(outcome, Charge):
            return self._rejected(outcome, pool, now_seconds)
        at_admission = self._scenario.headers.at is HeadersAt.ADMISSION
        headers = self._headers(pool, now_seconds) if at_admission else None
        first_seconds, finish_seconds = self._quota.answer(
            pool,
            outcome,
            input_tokens=use.charged,
            output_tokens=request.output_tokens,
            latency=self._scenario.latency.draw(self._latency_rng),
            now_seconds=now_seconds,
        )
        if use.uncached == request.input_tokens and request.prefix_tokens:
            self._quota.schedule(first_seconds, partial(self._store_prefix, (request.model, request.prefix)))
        return Accepted(
            request=request,
            first_token_seconds=first_seconds,
            finish_seconds=finish_seconds,
            input_tokens=use.uncached,
            cache_read_input_tokens=use.read,
            cache_creation_input_tokens=use.written_5m,
            charge=outcome,
            headers_of_admission=headers,
        )

    def head_headers(self, accepted: Accepted, now_seconds: float) -> dict[str, str]:
        """The rate-limit headers of a response head sent now; none if they are hidden."""
        self._advance(now_seconds)
        if accepted.headers_of_admission is not None:
            return dict(accepted.headers_of_admission)
        return self._headers(self._pool(accepted.request.model), now_seconds)

    def leave(self, accepted: Accepted, now_seconds: float) -> None:
        """Disconnect a client: what was produced until now stays charged. Idempotent."""
        self._advance(now_seconds)
        self._pool(accepted.request.model).finish(accepted.charge, now_seconds)

    def view(self, model: str, now_seconds: float) -> dict[Dimension, DimensionView]:
        """The true state of the limits of a model."""
        self._advance(now_seconds)
        return {
            dimension: DimensionView(
                bucket.level(now_seconds), bucket.limit_per_minute, bucket.capacity, bucket.outflow_per_second
            )
            for dimension, bucket in self._pool(model).buckets.items()
        }

    def seconds_until_fits(self, request: RequestShape, now_seconds: float) -> float:
        """For the oracle: how long until a request would be admitted, or until the next event that may change that.

        0 means now, infinite never. Events are the start and end of responses, requests of competitors, and changes.
        """
        self._advance(now_seconds)
        estimate = input_tokens_estimate(self._input_use(request, now_seconds).charged, request.characters_per_token)
        return seconds_until_fits(self._quota, self._pool(request.model), estimate, now_seconds)

    def attainable(self, model: str, now_seconds: float) -> dict[Dimension, float]:
        """The maximum usage since the start: see `AttainableUsage`, and under a ramp limit `RampBound`.

        Under a ramp limit it is exact at whole minutes, and up to `duration_seconds`.
        """
        self._advance(now_seconds)
        family = MODELS[model].family
        attainable = self._attainable.until(family, now_seconds)
        ramp_bound = self._ramp_bounds.get(family)
        if ramp_bound is not None:
            attainable[ramp_bound.dimension] = ramp_bound.used
        return attainable

    def charged(self, model: str, now_seconds: float) -> dict[Dimension, float]:
        """Usage since the start, without competitors."""
        self._advance(now_seconds)
        return self._pool(model).own.charged(now_seconds)

    def _advance(self, now_seconds: float) -> None:
        """Run the events that are due, and step the ramp bounds every second."""
        while self._ramp_bounds and self._ramp_step_seconds <= min(now_seconds, self._end_seconds):
            self._quota.advance(self._ramp_step_seconds)
            is_shut_out = self._quota.blocked_seconds(self._ramp_step_seconds) > 0
            for family, ramp_bound in self._ramp_bounds.items():
                attainable = self._attainable.until(family, self._ramp_step_seconds)[ramp_bound.dimension]
                ramp_bound.step(self._ramp_step_seconds, attainable, is_shut_out=is_shut_out)
            self._ramp_step_seconds += 1
        self._quota.advance(now_seconds)

    def _pool(self, model: str) -> Pool:
        return self._quota.pools[MODELS[model].family]

    def _input_use(self, request: RequestShape, now_seconds: float) -> InputUse:
        if request.prefix_tokens < MODELS[request.model].min_cache_prefix_tokens:
            return InputUse(uncached=request.input_tokens + request.prefix_tokens)
        if self._prefixes.get((request.model, request.prefix), now_seconds) > now_seconds:
            return InputUse(uncached=request.input_tokens, read=request.prefix_tokens)
        return InputUse(uncached=request.input_tokens, written_5m=request.prefix_tokens)

    def _store_prefix(self, key: tuple[str, str], now_seconds: float) -> None:
        self._prefixes[key] = now_seconds + TTL_SECONDS["5m"]

    def _rejected(self, rejection: Rejection, pool: Pool, now_seconds: float) -> Rejected:
        headers = self._headers(pool, now_seconds)
        match rejection:
            case OutageFailure(status):
                return Rejected(status, None, None, headers, None)
            case SpendCapReached():
                return Rejected(rejection.status, None, rejection.error_code, headers, None)
            case RateLimited(dimension):
                seconds = rejection.retry_after_seconds if self._scenario.headers.retry_after_visible else None
                if seconds is not None:
                    headers[RETRY_AFTER] = str(seconds)
                return Rejected(429, seconds, rejection.error_code, headers, dimension)

    def _headers(self, pool: Pool, now_seconds: float) -> dict[str, str]:
        if not self._scenario.headers.visible:
            return {}
        return rate_limit_headers(
            pool.state(now_seconds),
            unix_seconds=now_seconds + self._unix_offset_seconds,
            token_rounding=self._scenario.headers.token_rounding,
        )
