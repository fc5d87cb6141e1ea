"""Components that a workflow declares once and uses by name."""

from typing import Annotated, Literal

from pydantic import Field

from tidegate.generation.dsl.authentication import AuthenticationPolicy
from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.durations import Timeout
from tidegate.generation.dsl.endpoints import Catalog
from tidegate.generation.dsl.faults import ErrorDefinition, RetryPolicy
from tidegate.generation.dsl.marks import Expression
from tidegate.generation.dsl.tasks import Task, TaskList


class Extension(DslModel):
    """Tasks to run before and after every task of a kind (`composite` is `do`; `all` is every kind)."""

    extend: Literal["call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all"]
    when: Maybe[Expression] = None
    before: Maybe[TaskList] = None
    after: Maybe[TaskList] = None


class Use(DslModel):
    """Everything a workflow declares, by kind and name. Each extension is an object with one entry."""

    authentications: Maybe[dict[str, AuthenticationPolicy]] = None
    errors: Maybe[dict[str, ErrorDefinition]] = None
    extensions: Maybe[list[Annotated[dict[str, Extension], Field(min_length=1, max_length=1)]]] = None
    functions: Maybe[dict[str, Task]] = None
    retries: Maybe[dict[str, RetryPolicy]] = None
    secrets: Maybe[list[str]] = None
    timeouts: Maybe[dict[str, Timeout]] = None
    catalogs: Maybe[dict[str, Catalog]] = None
