"""Tasks that hold other tasks: do, for, fork and try."""

from typing import Annotated

from pydantic import Field

from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.choices import text_or
from tidegate.generation.dsl.faults import CaughtErrors, RetryPolicy
from tidegate.generation.dsl.marks import Expression, RefersTo
from tidegate.generation.dsl.tasks.base import TaskBase, TaskList


class DoTask(TaskBase, keyword="do"):
    """Run tasks one after the other."""

    do: TaskList


class ForLoop(DslModel):
    """What to iterate over, and the names of the variables for the item and its index."""

    each: Maybe[str] = None
    in_: Expression = Field(alias="in")
    at: Maybe[str] = None


class ForTask(TaskBase, keyword="for"):
    """Run tasks once for each item of a collection."""

    for_: ForLoop = Field(alias="for")
    while_: Maybe[Expression] = Field(None, alias="while")
    do: TaskList

    def variables_in(self, field: str) -> frozenset[str]:
        """Return the names of the item and of its index, by default `item` and `index`."""
        names = frozenset({self.for_.each or "item", self.for_.at or "index"})
        return names if field in {"while_", "do"} else frozenset()


class Fork(DslModel):
    """Branches that run at the same time; competing ones end with the first that completes."""

    branches: TaskList
    compete: Maybe[bool] = None


class ForkTask(TaskBase, keyword="fork"):
    """Run tasks at the same time."""

    fork: Fork


class Catch(DslModel):
    """Which errors to catch, and what to do then: try again, run tasks, or both."""

    errors: Maybe[CaughtErrors] = None
    as_: Maybe[str] = Field(None, alias="as")
    when: Maybe[Expression] = None
    except_when: Maybe[Expression] = Field(None, alias="exceptWhen")
    retry: Maybe[
        Annotated[
            RetryPolicy | str,
            text_or(RetryPolicy.model_validate, allowed="the name of a retry policy or an object"),
            RefersTo("retries"),
        ]
    ] = None
    do: Maybe[TaskList] = None

    def variables_in(self, field: str) -> frozenset[str]:
        """Return the name of the caught error, by default `error`."""
        return frozenset({self.as_ or "error"}) if field != "errors" else frozenset()


class TryTask(TaskBase, keyword="try"):
    """Run tasks and catch their errors."""

    try_: TaskList = Field(alias="try")
    catch: Catch
