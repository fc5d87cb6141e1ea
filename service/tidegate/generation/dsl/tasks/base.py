"""What all tasks have in common, and how the kind of a task is told from its properties."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny, WrapValidator

from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.choices import text_or
from tidegate.generation.dsl.data_flow import Export, Input, Output
from tidegate.generation.dsl.durations import Timeout
from tidegate.generation.dsl.findings import listed
from tidegate.generation.dsl.marks import Expression, OpaqueObject, RefersTo
from tidegate.generation.dsl.refusals import must_be, refused

TimeoutOrName = Annotated[
    Timeout | str,
    text_or(Timeout.model_validate, allowed="the name of a timeout or an object with after"),
    RefersTo("timeouts"),
]
"""A timeout in place, or the name of one in `use.timeouts`."""


class TaskBase(DslModel):
    """The properties every task may have. A kind of task is a subclass with the keyword that makes it that kind.

    A subclass with a keyword registers itself: `class WaitTask(TaskBase, keyword="wait")`.
    """

    kinds: ClassVar[dict[str, type["TaskBase"]]] = {}
    """Every kind of task by its keyword."""

    if_: Maybe[Expression] = Field(None, alias="if")
    input: Maybe[Input] = None
    output: Maybe[Output] = None
    export: Maybe[Export] = None
    timeout: Maybe[TimeoutOrName] = None
    then: Maybe[str] = None
    metadata: Maybe[OpaqueObject] = None

    @classmethod
    def __init_subclass__(cls, keyword: str | None = None, **kwargs: Any) -> None:
        """Register the kind of task under its keyword."""
        super().__init_subclass__(**kwargs)
        if keyword is not None:
            TaskBase.kinds[keyword] = cls

    @classmethod
    def variant_for(cls, _value: Mapping[str, object]) -> type["TaskBase"]:
        """Return the model for this task of this kind; kinds with variants override it."""
        return cls


def _read_task(value: object, _handler: object) -> TaskBase:
    if not isinstance(value, Mapping):
        raise must_be("an object, a task")
    present = [keyword for keyword in TaskBase.kinds if keyword in value]
    if "for" in present and "do" in present:  # `do` is also a property of `for`
        present.remove("do")
    keywords = ", ".join(sorted(TaskBase.kinds))
    if not present:
        raise refused("must be a task with one of: {keywords}; it has {given}", keywords=keywords, given=listed(value))
    if len(present) > 1:
        raise refused(
            "must be one task, with only one of: {keywords}; it has {given}",
            keywords=keywords,
            given=" and ".join(present),
        )
    return TaskBase.kinds[present[0]].variant_for(value).model_validate(value)


Task = Annotated[SerializeAsAny[TaskBase], WrapValidator(_read_task)]
"""A task of any kind. Its keyword picks the model, so that errors concern this kind alone."""

TaskList = list[Annotated[dict[str, Task], Field(min_length=1, max_length=1)]]
"""Tasks in order, each an object with one entry: the task's name and the task."""
