"""The whole quota of a key, and everything that happens to it while time passes. Pure: time is an argument.

Nothing happens by itself: `advance` makes up for what was due since the last call, each thing at its own moment and in
order, so that how often it is called changes nothing.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Final

from claude_simulator.limits.denials import CapReached, Denial, Failure
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.requests.models import FAMILIES, MODELS
from claude_simulator.scenarios.arrivals import arrival_seconds
from claude_simulator.scenarios.distributions import branch, sample_tokens
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import Change, Competitor, Outage, Scenario

_AT_ONCE_SECONDS: Final = 1e-3
"""An answer that takes no longer is charged all at once: as a flow it would have no sensible rate."""


class Quota:
    """Pools by name, under a scenario whose beginning is `start_seconds`.

    Competitors, latencies and outages have random numbers of their own, all from `rng`: what one of them draws does
    not shift the others, and competitors come at the same moments whatever the client under test does.
    """

    def __init__(self, pools: Mapping[str, Pool], scenario: Scenario, rng: random.Random, start_seconds: float) -> None:
        self.pools = pools
        self._scenario = scenario
        self._start_seconds = start_seconds
        self._now_seconds = start_seconds
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._outage_rng = branch(rng)
        for change in scenario.changes:
            self.at(start_seconds + change.at_seconds, partial(self._change, change))
        for competitor in scenario.competitors:
            self._begin(competitor, branch(rng))
        for outage in scenario.outages:
            self._forfeit_during(outage)

    def at(self, moment_seconds: float, action: Callable[[float], None]) -> None:
        """Do something when a moment has come; it is told the moment."""
        heapq.heappush(self._due, (moment_seconds, next(self._order), action))

    def advance(self, now_seconds: float) -> None:
        """Let everything happen that is due up to this moment."""
        while self._due and self._due[0][0] <= now_seconds:
            moment_seconds, _, action = heapq.heappop(self._due)
            self._now_seconds = max(self._now_seconds, moment_seconds)
            action(self._now_seconds)
        self._now_seconds = max(self._now_seconds, now_seconds)

    def admit(self, pool: Pool, input_tokens_estimate: int, now_seconds: float) -> Charge | Denial:
        """Let a request in and charge what is known of it, or say why not and charge nothing."""
        self.advance(now_seconds)
        return self._outside(now_seconds) or pool.admit(input_tokens_estimate, now_seconds)

    def seconds_until_fits(self, pool: Pool, input_tokens_estimate: int, now_seconds: float) -> float:
        """How long until a request would be let in, or until something happens that may change that.

        0 means now, infinite never. An outage that befalls a share of requests does not count.
        """
        self.advance(now_seconds)
        outside_seconds = self.closed_for_seconds(now_seconds)
        wait_seconds = max(outside_seconds, pool.seconds_until_fits(input_tokens_estimate, now_seconds))
        next_seconds = self._due[0][0] - now_seconds if self._due else math.inf
        return min(wait_seconds, next_seconds)

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
        """Let an admitted request be answered: its input is corrected at the first token, then output comes evenly.

        Returns the moments of the first token and of the end.
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

        self.at(first_seconds, begin)
        self.at(end_seconds, partial(pool.finish, charge))
        return first_seconds, end_seconds

    def _outside(self, now_seconds: float) -> Failure | CapReached | None:
        for outage in self._scenario.outages:
            if self._in_force(outage, now_seconds) and self._outage_rng.random() < outage.share:
                return Failure(outage.status)
        cap = self._scenario.spend_cap
        return CapReached(cap.kind) if cap is not None and self._cap_reached(now_seconds) else None

    def closed_for_seconds(self, now_seconds: float) -> float:
        """How long outages and the spend cap keep everything out: 0 when they do not, infinite without an end."""
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
            if change.family in (None, name) and name in FAMILIES:  # other endpoints have limits of their own
                pool.set_limits(change.per_minute(), now_seconds)

    def _begin(self, competitor: Competitor, rng: random.Random) -> None:
        arrivals = arrival_seconds(
            competitor.pattern,
            competitor.requests_per_minute / 60,
            branch(rng),  # refusals do not shift the arrivals
            start_seconds=competitor.start_seconds,
            stop_seconds=competitor.stop_seconds,
            burst_requests=competitor.burst_requests,
        )
        self._await_arrival(competitor, arrivals, rng)

    def _await_arrival(self, competitor: Competitor, arrivals: Iterator[float], rng: random.Random) -> None:
        moment_seconds = next(arrivals, None)
        if moment_seconds is not None:
            self.at(self._start_seconds + moment_seconds, partial(self._arrive, competitor, arrivals, rng))

    def _arrive(
        self, competitor: Competitor, arrivals: Iterator[float], rng: random.Random, now_seconds: float
    ) -> None:
        self._await_arrival(competitor, arrivals, rng)
        pool = self.pools[MODELS[competitor.model].family]
        input_tokens = sample_tokens(competitor.input_tokens, rng)
        output_tokens = sample_tokens(competitor.output_tokens, rng)
        latency = self._scenario.latency.draw(rng)
        if self._outside(now_seconds) is not None:
            return
        refusal = pool.refusal(input_tokens, now_seconds)
        if refusal is not None and refusal.wait_seconds > competitor.patience_seconds:
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

    def _forfeit_during(self, outage: Outage) -> None:
        """What refills in a full outage above a debt and one capacity is out of anybody's reach: it was not granted."""
        if outage.share < 1 or outage.stop_seconds is None:
            return
        buckets = [bucket for pool in self.pools.values() for bucket in pool.buckets.values()]
        debts: list[float] = []
        granted_before: list[float] = []

        def begin(now_seconds: float) -> None:
            debts.extend(max(0.0, -bucket.level(now_seconds)) for bucket in buckets)
            granted_before.extend(bucket.granted_until(now_seconds) for bucket in buckets)

        def end(now_seconds: float) -> None:
            for bucket, debt, before in zip(buckets, debts, granted_before, strict=True):
                refilled = bucket.granted_until(now_seconds) - before
                bucket.forfeit(max(0.0, refilled - debt - bucket.capacity))

        self.at(self._start_seconds + outage.start_seconds, begin)
        self.at(self._start_seconds + outage.stop_seconds, end)


def fast_pools(scenario: Scenario, now_seconds: float) -> dict[str, Pool]:
    """A full pool for each model in fast mode; none for an account without it."""
    if not scenario.fast_limits.granted:
        return {}
    families = [model.in_fast_mode().family for model in MODELS.values() if model.has_fast_mode]
    return {family: Pool(scenario.fast_limits.per_minute(), now_seconds=now_seconds) for family in families}


def scenario_pools(scenario: Scenario, now_seconds: float) -> dict[str, Pool]:
    """A full pool for each model family, under the limits of a scenario."""
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
