"""The record of a run. Times are seconds since its start."""

from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.goodput.workload import RequestShape
from claude_simulator.limits.dimension import Dimension
from tidegate.core.domain.caller import Caller

__all__ = ["DIMENSIONS", "Amounts", "Job", "PredictedWait", "RunRecord", "Sample", "Sent"]

DIMENSIONS = tuple(Dimension)
"""The order of all `Amounts`."""

Amounts = tuple[float, float, float]
"""Amounts of requests, input tokens and output tokens."""


@dataclass(slots=True, eq=False)
class Job:
    """One request of a caller, and its result.

    Attributes:
        patience_seconds: How long the caller waits for the complete response.
        charged: Its usage, if it was admitted.
        accepted_seconds: When the successful attempt was sent; None without one.
        gave_up_seconds: When it ended without a response; None if it did not, or the run ended first.
    """

    number: int
    caller: Caller
    submitted_seconds: float
    patience_seconds: float
    shape: RequestShape
    max_tokens: int
    charged: Amounts = (0, 0, 0)
    accepted_seconds: float | None = None
    gave_up_seconds: float | None = None


class Sample(NamedTuple):
    """The upstream at one time. All fields except `level` are cumulative, and exclude competitors."""

    seconds: float
    used: Amounts
    attainable: Amounts
    level: Amounts
    answers: int
    refusals: int


class Sent(NamedTuple):
    """An attempt that was sent, whether the upstream admitted it or refused it with a 429."""

    seconds: float
    requests: float
    input_tokens: float


class PredictedWait(NamedTuple):
    """The wait of one admitted request in the queue: since when, as predicted when it joined, and as it was."""

    since_seconds: float
    predicted_seconds: float
    waited_seconds: float


@dataclass(slots=True)
class RunRecord:
    """All jobs and samples of a run.

    `saturating` names the callers that always have pending requests. `waits` holds the predicted waits of clients that
    predict them. `sent` holds all attempts, in order.
    """

    saturating: frozenset[str] = frozenset()
    jobs: list[Job] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    waits: list[PredictedWait] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
