"""The load of a benchmark: who sends requests, when, and of what size. Pure: randomness is an argument."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from claude_simulator.checks import require_number
from claude_simulator.scenarios.arrivals import Pattern, arrival_seconds
from claude_simulator.scenarios.distributions import Distribution, sample, sample_tokens
from claude_simulator.scenarios.scenario import require_model


class Lengths(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of requests. A client cannot count tokens: it sees `characters_per_token` times as many characters."""

    input_tokens: Distribution = 1_000
    output_tokens: Distribution = 300
    characters_per_token: Distribution = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """The properties of a request that matter to limits. A retry has the same shape.

    Args:
        model: An id of `models.MODELS`.
        input_tokens: Tokens after the cached prefix.
        output_tokens: Tokens of the response.
        characters_per_token: Of the whole prompt.
        prefix: Names a prompt prefix under `cache_control`; "" is none.
        prefix_tokens: Length of the prefix.
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
    """The arrival pattern of a caller's requests."""

    WORKERS = "workers"  # each worker sends its next request after it has received a response
    POISSON = "poisson"  # at a mean rate, independent of each other
    BURST = "burst"  # all at once


_NEEDED: Final = {
    WorkloadKind.WORKERS: "workers",
    WorkloadKind.POISSON: "requests_per_second",
    WorkloadKind.BURST: "requests",
}


class Workload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The requests of one caller.

    Args:
        name: The caller.
        kind: How they arrive; requires `workers`, `requests_per_second` or `requests`, and forbids the other two.
        weight: The caller's share, relative to the others'.
        model: The model.
        think_seconds: How long a worker waits between a response and its next request.
        deadline_seconds: How long a request may take before the caller gives up.
        max_tokens: Truncates responses.
        prefix_tokens: Tokens before the input that are the same in each request, under `cache_control`.
        input_tokens: Size of requests; None takes the scenario's.
        output_tokens: Size of responses; None takes the scenario's.
        start_seconds: Time of the first request, from the start of the scenario; time of a burst.
        stop_seconds: Time after which no request is sent; None means the end of the scenario.
        replica_weights: Relative numbers of its requests for each process, the oldest first; equal if empty.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range.
    """

    name: Annotated[str, Meta(min_length=1)]
    kind: WorkloadKind
    workers: int | None = None
    requests_per_second: float | None = None
    requests: int | None = None
    weight: float = 1.0
    model: str = "claude-sonnet-5-5"
    think_seconds: Distribution = 0
    deadline_seconds: float = 60.0
    max_tokens: int = 4_096
    prefix_tokens: int = 0
    input_tokens: Distribution | None = None
    output_tokens: Distribution | None = None
    start_seconds: float = 0.0
    stop_seconds: float | None = None
    replica_weights: tuple[Annotated[int, Meta(ge=0)], ...] = ()

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
        if self.replica_weights and not any(self.replica_weights):
            raise ValueError(f"replica_weights: {self.replica_weights!r} was given; one above 0 is needed")

    def draw(self, lengths: Lengths, rng: random.Random) -> RequestShape:
        """Draw one request of this caller."""
        input_tokens = lengths.input_tokens if self.input_tokens is None else self.input_tokens
        output_tokens = lengths.output_tokens if self.output_tokens is None else self.output_tokens
        return RequestShape(
            model=self.model,
            input_tokens=sample_tokens(input_tokens, rng),
            output_tokens=min(self.max_tokens, sample_tokens(output_tokens, rng)),
            characters_per_token=sample(lengths.characters_per_token, rng),
            prefix=self.name if self.prefix_tokens else "",
            prefix_tokens=self.prefix_tokens,
        )

    def arrival_seconds(self, duration_seconds: float, rng: random.Random) -> Iterator[float]:
        """Arrival times of requests that do not depend on responses: a burst, or a rate. Workers have none."""
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
