"""Tasks that hold no other tasks: emit, raise, set, switch and wait."""

from typing import Annotated, Any

from pydantic import Field

from tidegate.generation.dsl.base import DslModel, Maybe, OpenDslModel
from tidegate.generation.dsl.choices import text_or
from tidegate.generation.dsl.durations import Duration
from tidegate.generation.dsl.events import EmittedProperties
from tidegate.generation.dsl.faults import ErrorDefinition
from tidegate.generation.dsl.marks import Expression, RefersTo
from tidegate.generation.dsl.tasks.base import TaskBase


class EmittedEvent(OpenDslModel):
    """The event to emit."""

    with_: Maybe[EmittedProperties] = Field(None, alias="with")


class Emission(DslModel):
    """What `emit` holds."""

    event: EmittedEvent


class EmitTask(TaskBase, keyword="emit"):
    """Emit an event."""

    emit: Emission


class RaisedError(DslModel):
    """The error to raise, in place or by its name in `use.errors`."""

    error: Annotated[
        ErrorDefinition | str,
        text_or(ErrorDefinition.model_validate, allowed="the name of an error or an object"),
        RefersTo("errors"),
    ]


class RaiseTask(TaskBase, keyword="raise"):
    """Raise an error."""

    raise_: RaisedError = Field(alias="raise")


class SetTask(TaskBase, keyword="set"):
    """Set data: at least one entry."""

    set: Annotated[dict[str, Any], Field(min_length=1)]


class SwitchCase(DslModel):
    """Where to go if the condition holds; without a condition, if no other case matches."""

    when: Maybe[Expression] = None
    then: str


class SwitchTask(TaskBase, keyword="switch"):
    """Go where the first matching case says. Each case is an object with one entry: its name and the case."""

    switch: Annotated[list[Annotated[dict[str, SwitchCase], Field(min_length=1, max_length=1)]], Field(min_length=1)]


class WaitTask(TaskBase, keyword="wait"):
    """Wait for some time."""

    wait: Duration
