"""Run a container, a script, a shell command or another workflow."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.choices import by_key
from tidegate.generation.dsl.durations import Duration
from tidegate.generation.dsl.endpoints import ExternalResource
from tidegate.generation.dsl.marks import Holds
from tidegate.generation.dsl.refusals import refused
from tidegate.generation.dsl.tasks.base import TaskBase


class ContainerLifetime(DslModel):
    """When a container is removed; `after` goes with `eventually`, and only with it."""

    cleanup: Literal["always", "never", "eventually"]
    after: Maybe[Duration] = None

    @model_validator(mode="after")
    def _after_goes_with_eventually(self) -> Self:
        if ("after" in self.model_fields_set) != (self.cleanup == "eventually"):
            raise refused("must have after if cleanup is 'eventually', and only then")
        return self


class Container(DslModel):
    """A container to run."""

    image: str
    name: Maybe[str] = None
    command: Maybe[str] = None
    ports: Maybe[dict[str, Any]] = None
    volumes: Maybe[dict[str, Any]] = None
    environment: Maybe[dict[str, Any]] = None
    lifetime: Maybe[ContainerLifetime] = None


class _Script(DslModel):
    """What scripts have in common. The reference names `js` and `python`; the schema takes any language."""

    language: str
    arguments: Maybe[dict[str, Any]] = None
    environment: Maybe[dict[str, Any]] = None


class InlineScript(_Script):
    """A script written in place. Its code may use `${ }` in its own sense."""

    code: Annotated[str, Holds.OPAQUE]


class ExternalScript(_Script):
    """A script elsewhere."""

    source: ExternalResource


class Shell(DslModel):
    """A shell command."""

    command: str
    arguments: Maybe[dict[str, Any]] = None
    environment: Maybe[dict[str, Any]] = None


class Subflow(DslModel):
    """Another workflow; `version` may be `latest`."""

    namespace: str
    name: str
    version: str
    input: Maybe[dict[str, Any]] = None


class _Process(DslModel):
    """Whether to wait for the process, and which part of its result to return."""

    await_: Maybe[bool] = Field(None, alias="await")
    return_: Maybe[Literal["stdout", "stderr", "code", "all", "none"]] = Field(None, alias="return")


class RunContainer(_Process):
    """Run a container."""

    container: Container


class RunScript(_Process):
    """Run a script."""

    script: Annotated[InlineScript | ExternalScript, by_key({"code": InlineScript, "source": ExternalScript})]


class RunShell(_Process):
    """Run a shell command."""

    shell: Shell


class RunWorkflow(_Process):
    """Run another workflow."""

    workflow: Subflow


class RunTask(TaskBase, keyword="run"):
    """Run a process of one of four kinds."""

    run: Annotated[
        RunContainer | RunScript | RunShell | RunWorkflow,
        by_key({"container": RunContainer, "script": RunScript, "shell": RunShell, "workflow": RunWorkflow}),
    ]
