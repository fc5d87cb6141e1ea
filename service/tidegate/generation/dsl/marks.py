"""Marks on the types of fields that tell the semantic checks what a string means."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal


class Holds(Enum):
    """What a string is beyond being a string."""

    EXPRESSION = "a jq expression, with or without `${ }` around it"
    DURATION = "an ISO 8601 duration"
    OPAQUE = "content the DSL does not look into: no runtime expressions in it or below it"


Component = Literal["authentications", "errors", "retries", "secrets", "timeouts"]
"""The parts of `use` that other places name."""


@dataclass(frozen=True, slots=True)
class RefersTo:
    """The string is the name of a component that `use` declares."""

    component: Component


Mark = Holds | RefersTo
"""Any mark."""

Expression = Annotated[str, Holds.EXPRESSION]
"""A runtime expression. The reference shows it with and without `${ }` in the places that hold nothing else."""

OpaqueObject = Annotated[dict[str, Any], Holds.OPAQUE]
"""An object for people and tools (tags, metadata), which no runtime evaluates."""
