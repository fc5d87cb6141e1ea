"""What a caller asks of the generator, and what it answers."""

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


@dataclass(slots=True)
class Tally:
    """What a generation has taken so far, repairs, repetitions and the fallback included.

    Attributes:
        attempts: attempts at the upstream.
        queue_seconds: time spent waiting for quota.
        usage: tokens of all answers together, as far as answers that broke off said.
    """

    attempts: int = 0
    queue_seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    def add_usage(self, usage: Usage) -> None:
        """Adds the tokens of one answer."""
        self.usage = Usage._make(map(sum, zip(self.usage, usage, strict=True)))


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """A valid document, and how it came about.

    Attributes:
        document: a plain JSON value: a dict, unless the caller's schema allows something else.
        model: id of the model that answered.
        usage: tokens of all answers together.
        attempts: attempts at the upstream, repairs and repetitions included.
        queue_seconds: time spent waiting for quota.
        repaired: the first answer was invalid, and one more turn mended it.
        fallback_reason: why the simpler request was needed: `invalid`, `refused`, `truncated`, `deadline`, `overloaded`
            or `too_long`; None when the full request was answered.
        fallback_message: the same in a sentence.
        notes: remarks of the model.
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
        """Whether the document answers the simpler request."""
        return self.fallback_reason is not None


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
