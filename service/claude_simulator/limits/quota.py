"""The quota of a key under a scenario, as a discrete-event simulation. Pure: time is an argument.

`advance` runs the events that are due since the last call, in order and each at its own time. How often it is called
makes no difference.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Final

from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.limits.rejections import OutageFailure, Rejection, SpendCapReached
from claude_simulator.requests.models import FAMILIES, MODELS
from claude_simulator.scenarios.arrivals import arrival_seconds
from claude_simulator.scenarios.distributions import branch, sample_tokens
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import Change, Competitor, Outage, Scenario

_AT_ONCE_SECONDS: Final = 1e-3
"""Output that is produced in a shorter time is charged at once: its rate would be meaningless."""


class Quota:
    """Pools by name, under a scenario that starts at `start_seconds`.

    Competitors, latencies and outages each have a generator of their own, derived from `rng`: drawing from one does not
    change the others, and competitors arrive at the same times whatever the client under test does.
    """

    def __init__(self, pools: Mapping[str, Pool], scenario: Scenario, rng: random.Random, start_seconds: float) -> None:
        self.pools = pools
        self._scenario = scenario
        self._start_seconds = start_seconds
        self._now_seconds = start_seconds
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._outage_rng = branch(rng)
        for change in scenario.changes:
            self.schedule(start_seconds + change.at_seconds, partial(self._change, change))
        for competitor in scenario.competitors:
            self._begin(competitor, branch(rng))

    def schedule(self, moment_seconds: float, action: Callable[[float], None]) -> None:
        """Runs an action at a time. It receives that time."""
        heapq.heappush(self._events, (moment_seconds, next(self._order), action))

    def advance(self, now_seconds: float) -> None:
        """Runs the events that are due up to now."""
        while self._events and self._events[0][0] <= now_seconds:
            moment_seconds, _, action = heapq.heappop(self._events)
            self._now_seconds = max(self._now_seconds, moment_seconds)
            action(self._now_seconds)
        self._now_seconds = max(self._now_seconds, now_seconds)

    def admit(self, pool: Pool, input_tokens_estimate: int, now_seconds: float) -> Charge | Rejection:
        """Admits a request and charges its estimate, or returns the reason for its rejection and charges nothing."""
        self.advance(now_seconds)
        return self._unavailable(now_seconds) or pool.admit(input_tokens_estimate, now_seconds)

    def seconds_until_next_event(self, now_seconds: float) -> float:
        """Time until the next event that is known now; infinite if there is none."""
        return self._events[0][0] - now_seconds if self._events else math.inf

    def answer(
        self,
        pool: Pool,
        charge: Charge,
        *,
        input_tokens: int,
        output_tokens: int,
        latency: Latency,
        now_seconds: float,
    ) -> tuple[float, float]:
        """Schedules the response to an admitted request: input is corrected at the first token, then output is even.

        Returns the times of the first token and of the end.
        """
        first_seconds = now_seconds + latency.first_token_seconds
        end_seconds = first_seconds + output_tokens * latency.per_token_seconds

        def begin(moment_seconds: float) -> None:
            if charge.finished:
                return
            pool.correct_input(charge, input_tokens, moment_seconds)
            if end_seconds - first_seconds > _AT_ONCE_SECONDS:
                pool.set_output_rate(charge, output_tokens / (end_seconds - first_seconds), moment_seconds)
            else:
                pool.produce(charge, output_tokens, moment_seconds)

        self.schedule(first_seconds, begin)
        self.schedule(end_seconds, partial(pool.finish, charge))
        return first_seconds, end_seconds

    def _unavailable(self, now_seconds: float) -> OutageFailure | SpendCapReached | None:
        for outage in self._scenario.outages:
            if self._in_force(outage, now_seconds) and self._outage_rng.random() < outage.share:
                return OutageFailure(outage.status)
        cap = self._scenario.spend_cap
        return SpendCapReached(cap.kind) if cap is not None and self._cap_reached(now_seconds) else None

    def blocked_seconds(self, now_seconds: float) -> float:
        """Time for which outages and the spend cap reject all requests: 0 if they do not, infinite without an end."""
        stops = [
            outage.stop_seconds
            for outage in self._scenario.outages
            if outage.share == 1 and self._in_force(outage, now_seconds)
        ]
        if self._scenario.spend_cap is not None and self._cap_reached(now_seconds):
            stops.append(self._scenario.spend_cap.stop_seconds)
        elapsed = now_seconds - self._start_seconds
        return max((math.inf if stop is None else stop - elapsed for stop in stops), default=0.0)

    def _cap_reached(self, now_seconds: float) -> bool:
        cap = self._scenario.spend_cap
        if cap is None or (cap.stop_seconds is not None and now_seconds >= self._start_seconds + cap.stop_seconds):
            return False
        tallies = [tally for pool in self.pools.values() for tally in (pool.own, pool.others)]
        spent_micro_usd = sum(
            tally.input_tokens * cap.usd_per_million_input_tokens
            + tally.output_tokens(now_seconds) * cap.usd_per_million_output_tokens
            for tally in tallies
        )
        return spent_micro_usd >= cap.usd * 1e6

    def _in_force(self, outage: Outage, now_seconds: float) -> bool:
        elapsed = now_seconds - self._start_seconds
        return outage.start_seconds <= elapsed and (outage.stop_seconds is None or elapsed < outage.stop_seconds)

    def _change(self, change: Change, now_seconds: float) -> None:
        for name, pool in self.pools.items():
            if change.family in (None, name) and name in FAMILIES:  # `count_tokens` has its own limit
                pool.set_limits(change.per_minute(), now_seconds)

    def _begin(self, competitor: Competitor, rng: random.Random) -> None:
        arrivals = arrival_seconds(
            competitor.pattern,
            competitor.requests_per_minute / 60,
            branch(rng),  # refusals do not change the arrivals
            start_seconds=competitor.start_seconds,
            stop_seconds=competitor.stop_seconds,
            burst_requests=competitor.burst_requests,
        )
        self._await_arrival(competitor, arrivals, rng)

    def _await_arrival(self, competitor: Competitor, arrivals: Iterator[float], rng: random.Random) -> None:
        moment_seconds = next(arrivals, None)
        if moment_seconds is not None:
            self.schedule(self._start_seconds + moment_seconds, partial(self._arrive, competitor, arrivals, rng))

    def _arrive(
        self, competitor: Competitor, arrivals: Iterator[float], rng: random.Random, now_seconds: float
    ) -> None:
        self._await_arrival(competitor, arrivals, rng)
        pool = self.pools[MODELS[competitor.model].family]
        input_tokens = sample_tokens(competitor.input_tokens, rng)
        output_tokens = sample_tokens(competitor.output_tokens, rng)
        latency = self._scenario.latency.draw(rng)
        if self._unavailable(now_seconds) is not None:
            return
        rate_limit = pool.rate_limit(input_tokens, now_seconds)
        if rate_limit is not None and rate_limit.wait_seconds > competitor.patience_seconds:
            pool.others.rate_limited += 1
            return
        charge = pool.charge(pool.others, input_tokens, now_seconds)
        self.answer(
            pool,
            charge,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            latency=latency,
            now_seconds=now_seconds,
        )


def fast_pools(scenario: Scenario, now_seconds: float) -> dict[str, Pool]:
    """Creates a full pool for each model in fast mode; none for an account without it."""
    if not scenario.fast_limits.granted:
        return {}
    families = [model.in_fast_mode().family for model in MODELS.values() if model.has_fast_mode]
    return {family: Pool(scenario.fast_limits.per_minute(), now_seconds=now_seconds) for family in families}


def scenario_pools(scenario: Scenario, now_seconds: float) -> dict[str, Pool]:
    """Creates a full pool for each model family, with the limits of a scenario."""
    return {
        family: Pool(
            limits.per_minute(),
            now_seconds=now_seconds,
            enforcement_seconds=limits.enforcement_seconds,
            refill=limits.refill,
            ramp=scenario.ramp,
        )
        for family in FAMILIES
        for limits in (scenario.limits_by_family.get(family, scenario.limits),)
    }
