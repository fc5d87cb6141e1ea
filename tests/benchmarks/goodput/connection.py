"""Connects the clients of a run with the simulated upstream, on virtual time."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Final

from benchmarks.goodput.records import DIMENSIONS, Amounts, Job, Sample, Sent
from benchmarks.goodput.scenario import LoadScenario
from benchmarks.goodput.upstream_model import Accepted, Rejected, SimulatedUpstream
from claude_simulator.limits.dimension import Dimension
from support.virtual_time import VirtualClock
from tidegate.core.domain.nanoseconds import to_seconds

__all__ = ["Rejection", "Stream", "UpstreamConnection"]

_REJECTION_TAKES_SECONDS: Final = 0.05
"""Round trip of a rejected request."""


class Rejection(Exception):
    """The upstream rejected a request."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.status)
        self.status = rejected.status
        self.retry_after_seconds = rejected.retry_after_seconds
        self.error_code = rejected.error_code
        self.headers: Mapping[str, str] = rejected.headers


class Stream:
    """The response to an admitted request."""

    def __init__(self, connection: "UpstreamConnection", accepted: Accepted) -> None:
        self._connection = connection
        self._accepted = accepted
        self.headers: Mapping[str, str] = {}

    @property
    def input_usage(self) -> tuple[int, int, int]:
        """Input tokens, tokens read from the cache, and tokens written to it."""
        accepted = self._accepted
        return accepted.input_tokens, accepted.cache_read_input_tokens, accepted.cache_creation_input_tokens

    async def head(self) -> None:
        """Wait for the response head."""
        await self._connection.sleep_until(self._accepted.first_token_seconds)
        self.headers = self._connection.upstream.head_headers(self._accepted, self._connection.now_seconds())

    async def produce(self, tokens: int) -> bool:
        """Wait until a number of tokens has been produced. Return False at once if the response has no more tokens."""
        accepted = self._accepted
        if tokens >= accepted.output_tokens:
            return False
        took_seconds = accepted.finish_seconds - accepted.first_token_seconds
        await self._until(accepted.first_token_seconds + took_seconds * tokens / accepted.output_tokens)
        return True

    async def finish(self) -> int:
        """Wait for the end of the response, and return its tokens. Disconnects when cancelled."""
        await self._until(self._accepted.finish_seconds)
        return self._accepted.output_tokens

    async def _until(self, moment_seconds: float) -> None:
        try:
            await self._connection.sleep_until(moment_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect; no effect after the end."""
        self._connection.upstream.leave(self._accepted, self._connection.now_seconds())


class UpstreamConnection:
    """Sends attempts and counts their results, for all processes that share the key.

    Attributes:
        model: The model of all requests.
        upstream: The simulated API.
        answers: Number of admitted attempts.
        refusals: Number of 429s.
        sent: When each attempt was sent, and its requests and input tokens, unless it met an outage.
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
        self.sent: list[Sent] = []

    def now_seconds(self) -> float:
        """Time since the start of the run."""
        return to_seconds(self._clock.monotonic_ns() - self._start_ns)

    async def sleep_until(self, moment_seconds: float) -> None:
        """Sleep until a time; not at all if it has passed."""
        wait_seconds = moment_seconds - self.now_seconds()
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)

    def open(self, job: Job) -> Stream:
        """Send an attempt now.

        Raises:
            Rejection: The upstream rejected it.
        """
        now_seconds = self.now_seconds()
        outcome = self.upstream.attempt(job.shape, now_seconds)
        if isinstance(outcome, Rejected):
            if outcome.status == 429:
                self.refusals += 1
                self.sent.append(Sent(now_seconds, 1, job.shape.input_tokens))
            raise Rejection(outcome)
        self.answers += 1
        job.accepted_seconds = now_seconds
        job.charged = (1, outcome.input_tokens + outcome.cache_creation_input_tokens, outcome.output_tokens)
        self.sent.append(Sent(now_seconds, *job.charged[:2]))
        return Stream(self, outcome)

    async def send(self, job: Job) -> Stream:
        """Send an attempt and wait for the response head.

        Raises:
            Rejection: The upstream rejected it.
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
        """For the oracle: see `SimulatedUpstream.seconds_until_fits`."""
        return self.upstream.seconds_until_fits(job.shape, self.now_seconds())

    def sample(self) -> Sample:
        """The present state."""
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
