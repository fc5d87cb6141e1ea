"""The way from all clients of a run to the simulated upstream, on virtual time."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Final

from benchmarks.goodput.records import DIMENSIONS, Amounts, Job, Sample
from benchmarks.goodput.scenario import LoadScenario
from benchmarks.goodput.upstream_model import Accepted, Rejected, SimulatedUpstream
from claude_simulator.limits.dimension import Dimension
from support.virtual_time import VirtualClock
from tidegate.core.domain.nanoseconds import to_seconds

__all__ = ["Line", "Rejection", "Stream"]

_REJECTION_TAKES_SECONDS: Final = 0.05
"""From sending a request to reading that it was refused: a round trip."""


class Rejection(Exception):
    """The upstream did not let a request in."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.status)
        self.status = rejected.status
        self.retry_after_seconds = rejected.retry_after_seconds
        self.error_code = rejected.error_code
        self.headers: Mapping[str, str] = rejected.headers


class Stream:
    """An answer that the upstream has begun to work on."""

    def __init__(self, line: "Line", accepted: Accepted) -> None:
        self._line = line
        self._accepted = accepted
        self.headers: Mapping[str, str] = {}

    @property
    def input_usage(self) -> tuple[int, int, int]:
        """Input tokens, tokens read from the cache, and tokens written to it."""
        accepted = self._accepted
        return accepted.input_tokens, accepted.cache_read_input_tokens, accepted.cache_creation_input_tokens

    async def head(self) -> None:
        """Waits for the head of the answer."""
        await self._line.sleep_until(self._accepted.first_token_seconds)
        self.headers = self._line.upstream.head_headers(self._accepted, self._line.now_seconds())

    async def produce(self, tokens: int) -> bool:
        """Waits until so many tokens have come; False, at once, if the answer is no longer than that."""
        accepted = self._accepted
        if tokens >= accepted.output_tokens:
            return False
        took_seconds = accepted.finish_seconds - accepted.first_token_seconds
        await self._until(accepted.first_token_seconds + took_seconds * tokens / accepted.output_tokens)
        return True

    async def finish(self) -> int:
        """Waits for the end of the answer; how many tokens it has. Hangs up when nobody waits any longer."""
        await self._until(self._accepted.finish_seconds)
        return self._accepted.output_tokens

    async def _until(self, moment_seconds: float) -> None:
        try:
            await self._line.sleep_until(moment_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hangs up; without effect after the end."""
        self._line.upstream.leave(self._accepted, self._line.now_seconds())


class Line:
    """Sends attempts, and counts what becomes of them. One for all processes that share the key.

    Attributes:
        model: the model that everybody asks.
        upstream: the simulated API.
        answers: attempts that were let in.
        refusals: attempts that got a 429.
    """

    def __init__(self, scenario: LoadScenario, rng: Random, clock: VirtualClock) -> None:
        self._clock = clock
        self._start_ns = clock.monotonic_ns()
        self.model = scenario.workloads[0].model
        self.limits = scenario.upstream.limits
        self.upstream = SimulatedUpstream(
            scenario.upstream,
            rng,
            0.0,
            duration_seconds=scenario.duration_seconds,
            unix_offset_seconds=clock.wall_seconds(),
        )
        self.answers = 0
        self.refusals = 0

    def now_seconds(self) -> float:
        """Since the start of the run."""
        return to_seconds(self._clock.monotonic_ns() - self._start_ns)

    async def sleep_until(self, moment_seconds: float) -> None:
        """Waits for a moment; for none that has passed."""
        wait_seconds = moment_seconds - self.now_seconds()
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)

    def open(self, job: Job) -> Stream:
        """Makes an attempt at this instant.

        Raises:
            Rejection: the upstream did not let it in.
        """
        now_seconds = self.now_seconds()
        outcome = self.upstream.attempt(job.shape, now_seconds)
        if isinstance(outcome, Rejected):
            self.refusals += outcome.status == 429
            raise Rejection(outcome)
        self.answers += 1
        job.accepted_seconds = now_seconds
        job.charged = (1, outcome.input_tokens + outcome.cache_creation_input_tokens, outcome.output_tokens)
        return Stream(self, outcome)

    async def send(self, job: Job) -> Stream:
        """Makes an attempt and waits for the head of its answer.

        Raises:
            Rejection: the upstream did not let it in.
        """
        try:
            stream = self.open(job)
        except Rejection:
            await asyncio.sleep(_REJECTION_TAKES_SECONDS)
            raise
        try:
            await stream.head()
        except BaseException:
            stream.close()
            raise
        return stream

    def seconds_until_fits(self, job: Job) -> float:
        """For who may know everything: see `SimulatedUpstream.seconds_until_fits`."""
        return self.upstream.seconds_until_fits(job.shape, self.now_seconds())

    def sample(self) -> Sample:
        """The state at this instant."""
        now_seconds = self.now_seconds()
        view = self.upstream.view(self.model, now_seconds)
        return Sample(
            now_seconds,
            _amounts(self.upstream.charged(self.model, now_seconds)),
            _amounts(self.upstream.attainable(self.model, now_seconds)),
            _amounts({dimension: each.level for dimension, each in view.items()}),
            self.answers,
            self.refusals,
        )


def _amounts(by_dimension: Mapping[Dimension, float]) -> Amounts:
    requests, input_tokens, output_tokens = (by_dimension[dimension] for dimension in DIMENSIONS)
    return requests, input_tokens, output_tokens
