"""The requests, results and progress events of the generator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.usage import Usage

__all__ = [
    "AttemptStarted",
    "GenerationRequest",
    "GenerationResult",
    "OnProgress",
    "Progress",
    "Tally",
    "TextReceived",
    "Validated",
    "WaitPredicted",
]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One document to generate.

    Attributes:
        prompt: what the workflow should do.
        caller: the caller who is charged.
        model: the id of a model to use instead of the configured one.
        fallback: whether the simpler request may follow when the full one fails.
        schema: the caller's JSON Schema for the document, instead of the workflow DSL.
        timeout_seconds: the time for the whole generation, including waits.
    """

    prompt: str
    caller: Caller = DEFAULT_CALLER
    model: str | None = None
    fallback: bool = False
    schema: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None


@dataclass(slots=True)
class Tally:
    """The cost of a generation so far, including repairs, retries and the fallback.

    Attributes:
        attempts: attempts sent to the upstream.
        queue_seconds: time spent waiting for quota.
        usage: tokens of all answers together. For answers that broke off, what they had reported.
    """

    attempts: int = 0
    queue_seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    def add_usage(self, usage: Usage) -> None:
        """Adds the tokens of one answer."""
        self.usage = Usage._make(map(sum, zip(self.usage, usage, strict=True)))


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """A valid document, with how it was generated.

    Attributes:
        document: a plain JSON value: a dict, unless the caller's schema allows something else.
        model: the id of the model that answered.
        usage: tokens of all answers together.
        attempts: attempts sent to the upstream, including repairs and retries.
        queue_seconds: time spent waiting for quota.
        repaired: whether the first answer was invalid and a second turn repaired it.
        fallback_reason: why the simpler request was needed: `invalid`, `refused`, `truncated`, `deadline`, `overloaded`
            or `too_long`; None if the full request was answered.
        fallback_message: the same reason as a sentence.
        notes: the model's remarks.
    """

    document: Any
    model: str
    usage: Usage
    attempts: int
    queue_seconds: float
    repaired: bool = False
    fallback_reason: str | None = None
    fallback_message: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def fallback_used(self) -> bool:
        """Whether the document comes from the simpler request."""
        return self.fallback_reason is not None


@dataclass(frozen=True, slots=True)
class WaitPredicted:
    """The request waits for quota, for about this long."""

    pool: str
    predicted_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """An attempt starts. The first one has number 1."""

    attempt: int
    model: str


@dataclass(frozen=True, slots=True)
class TextReceived:
    """The text of the answer so far."""

    text: str


@dataclass(frozen=True, slots=True)
class Validated:
    """An answer was checked. There are no findings if it is valid."""

    valid: bool
    findings: tuple[str, ...]


Progress = WaitPredicted | AttemptStarted | TextReceived | Validated
"""An event during a generation."""

OnProgress = Callable[[Progress], None]
"""Receives progress events. It must not block."""
