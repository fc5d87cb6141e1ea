"""What callers ask for: sizes of requests, and when they come. Pure: randomness is an argument."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from claude_simulator.checks import require_number
from claude_simulator.requests.models import MODELS
from claude_simulator.scenarios.arrivals import Pattern, arrival_seconds
from claude_simulator.scenarios.distributions import Constant, Distribution, sample_tokens

ESTIMATED_CHARACTERS_PER_TOKEN: Final = 4
"""In the API's estimate of an input; the true figure differs from model to model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Sizes of requests. A client cannot count its tokens: it sees `characters_per_token` times as many characters."""

    input_tokens: Distribution = field(default=Constant(1_000))
    output_tokens: Distribution = field(default=Constant(300))
    characters_per_token: Distribution = field(default=Constant(3.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """One request, as far as limits see it. It keeps its shape when it is sent again.

    Args:
        model: An id of `models.MODELS`.
        input_tokens: Tokens after the cached prefix.
        output_tokens: Tokens of the answer.
        characters_per_token: Of the whole prompt.
        prefix: Names a prompt prefix under `cache_control`; "" is none.
        prefix_tokens: How long the prefix is.
    """

    model: str
    input_tokens: int
    output_tokens: int
    characters_per_token: float = 4.0
    prefix: str = ""
    prefix_tokens: int = 0

    @property
    def characters(self) -> int:
        """Size of the whole prompt."""
        return round((self.input_tokens + self.prefix_tokens) * self.characters_per_token)


class WorkloadKind(StrEnum):
    """How a caller's requests come."""

    WORKERS = "workers"  # each of some workers asks again when it has its answer
    POISSON = "poisson"  # at a mean rate, each independent of the others
    BURST = "burst"  # all at once


_NEEDED: Final = {
    WorkloadKind.WORKERS: "workers",
    WorkloadKind.POISSON: "requests_per_second",
    WorkloadKind.BURST: "requests",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The requests of one caller.

    Args:
        name: The caller.
        kind: How they come; it needs `workers`, `requests_per_second` or `requests`, and takes none of the others.
        weight: The caller's share, relative to the others'.
        model: The model asked.
        think_seconds: How long a worker waits between an answer and its next request.
        deadline_seconds: How long a request may take before it is given up.
        max_tokens: Cuts answers.
        prefix_tokens: Tokens before the input that are the same in each request, under `cache_control`.
        input_tokens: Size of requests; None takes the scenario's.
        output_tokens: Size of answers; None takes the scenario's.
        start_seconds: When the first request comes, from the beginning of the scenario; the moment of a burst.
        stop_seconds: When the last one has come; None means the end of the scenario.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range.
    """

    name: str
    kind: WorkloadKind
    workers: int | None = None
    requests_per_second: float | None = None
    requests: int | None = None
    weight: float = 1.0
    model: str = "claude-sonnet-5-5"
    think_seconds: Distribution = field(default=Constant(0))
    deadline_seconds: float = 60.0
    max_tokens: int = 4_096
    prefix_tokens: int = 0
    input_tokens: Distribution | None = None
    output_tokens: Distribution | None = None
    start_seconds: float = 0.0
    stop_seconds: float | None = None

    def __post_init__(self) -> None:
        for kind, name in _NEEDED.items():
            if kind is not self.kind and getattr(self, name) is not None:
                raise ValueError(f"{name}: {getattr(self, name)!r} was given; kind {self.kind.value!r} has none")
            require_number(self, name, above=0, whole=name != "requests_per_second", optional=kind is not self.kind)
        require_number(self, "weight", above=0)
        require_number(self, "deadline_seconds", above=0)
        require_number(self, "max_tokens", least=1, whole=True)
        require_number(self, "prefix_tokens", least=0, whole=True)
        require_number(self, "start_seconds", least=0)
        require_number(self, "stop_seconds", above=self.start_seconds, optional=True)
        require_model(self.model)

    def draw(self, lengths: Lengths, rng: random.Random) -> RequestShape:
        """One request of this caller."""
        return RequestShape(
            model=self.model,
            input_tokens=sample_tokens(self.input_tokens or lengths.input_tokens, rng),
            output_tokens=min(self.max_tokens, sample_tokens(self.output_tokens or lengths.output_tokens, rng)),
            characters_per_token=lengths.characters_per_token.sample(rng),
            prefix=self.name if self.prefix_tokens else "",
            prefix_tokens=self.prefix_tokens,
        )

    def arrival_seconds(self, duration_seconds: float, rng: random.Random) -> Iterator[float]:
        """When requests come that wait for no answer: of a burst or at a rate. Workers have no such moments."""
        if self.requests is not None:
            yield from [self.start_seconds] * self.requests
        elif self.requests_per_second is not None:
            stop_seconds = duration_seconds if self.stop_seconds is None else min(duration_seconds, self.stop_seconds)
            yield from arrival_seconds(
                Pattern.POISSON,
                self.requests_per_second,
                rng,
                start_seconds=self.start_seconds,
                stop_seconds=stop_seconds,
            )


def require_model(model: str) -> None:
    """Check that a model is simulated.

    Raises:
        ValueError: It is not; the message lists all that are.
    """
    if model not in MODELS:
        raise ValueError(f"model: {model!r} was given; allowed are {', '.join(MODELS)}")


def input_tokens_estimate(charged_tokens: int, characters_per_token: float) -> int:
    """What the API takes for the input when a request starts: it knows the characters, and one figure for all models.

    The correction, at the first token, takes `charged_tokens`.
    """
    return math.ceil(charged_tokens * characters_per_token / ESTIMATED_CHARACTERS_PER_TOKEN)
