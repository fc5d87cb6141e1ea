"""What a run leaves behind, and what its figures are made of. Times are seconds since the start of the run."""

from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.goodput.workload import RequestShape
from claude_simulator.limits.dimension import Dimension
from tidegate.core.domain.caller import Caller

__all__ = ["DIMENSIONS", "Amounts", "Job", "PredictedWait", "RunRecord", "Sample"]

DIMENSIONS = tuple(Dimension)
"""The order of all `Amounts`."""

Amounts = tuple[float, float, float]
"""Something in each dimension: requests, input tokens, output tokens."""


@dataclass(slots=True, eq=False)
class Job:
    """One request of a caller, and what came of it.

    Attributes:
        patience_seconds: how long the caller waits for the whole answer.
        charged: what it was charged, once it was accepted.
        accepted_seconds: when the attempt was sent that was answered; None: none was.
        gave_up_seconds: when it ended without an answer; None: it did not, though the run may have ended first.
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
    """The upstream at one moment. All but `level` is cumulative; other users of the key do not count."""

    seconds: float
    used: Amounts
    attainable: Amounts
    level: Amounts
    answers: int
    refusals: int


class PredictedWait(NamedTuple):
    """The wait of one admitted request in the queue, as it was predicted when the request joined, and as it was."""

    predicted_seconds: float
    waited_seconds: float


@dataclass(slots=True)
class RunRecord:
    """All jobs and samples of one run; `saturating` names the callers that always have more to ask for.

    `waits` holds the predicted waits of clients that predict any.
    """

    saturating: frozenset[str] = frozenset()
    jobs: list[Job] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    waits: list[PredictedWait] = field(default_factory=list)
