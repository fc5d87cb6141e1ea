"""What a caller asks of the generator, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.core.caller import DEFAULT_CALLER, Caller
from tidegate.core.usage import Usage

__all__ = [
    "AttemptStarted",
    "GeneratedWorkflow",
    "GenerationRequest",
    "OnProgress",
    "Progress",
    "TextReceived",
    "Validated",
    "WaitPredicted",
]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One document to generate.

    Attributes:
        prompt: what the workflow should do.
        caller: on whose account.
        model: instead of the configured one.
        fallback: whether the simpler request may be tried when the full one fails.
        schema: a JSON Schema of the caller's that the document must meet, instead of the workflow DSL.
        timeout_seconds: time for everything, waiting included.
    """

    prompt: str
    caller: Caller = DEFAULT_CALLER
    model: str | None = None
    fallback: bool = False
    schema: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None


class GeneratedWorkflow(dict[str, Any]):
    """The document itself (a plain dict to programs that know only that), with how it came about as attributes.

    Attributes:
        model: which model's answer it is.
        usage: tokens of all answers together.
        attempts: attempts at the upstream, repairs and repetitions included.
        repaired: the first answer was invalid, and one more turn mended it.
        fallback_used: it is the answer to the simpler request.
        fallback_reason: why; None when the full request was answered.
        queue_seconds: time spent waiting for quota.
        notes: remarks of the model.
    """

    model: str = ""
    usage: Usage = Usage()
    attempts: int = 0
    repaired: bool = False
    fallback_used: bool = False
    fallback_reason: str | None = None
    queue_seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitPredicted:
    """The request waits for quota, probably this long."""

    pool: str
    predicted_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An attempt goes out; the first one is 1."""

    attempt: int
    model: str


@dataclass(frozen=True, slots=True)
class TextReceived:
    """The answer's text so far."""

    text: str


@dataclass(frozen=True, slots=True)
class Validated:
    """An answer was checked; findings are empty when it is valid."""

    valid: bool
    findings: tuple[str, ...]


Progress = WaitPredicted | AttemptStarted | TextReceived | Validated
"""What happens on the way to the document."""

OnProgress = Callable[[Progress], None]
"""Hears of progress; must not block."""
