"""The workflow document itself."""

from typing import Literal

from tidegate.generation.dsl.base import DslModel, Maybe, OpenDslModel
from tidegate.generation.dsl.data_flow import Input, Output
from tidegate.generation.dsl.durations import Duration
from tidegate.generation.dsl.events import EventConsumption
from tidegate.generation.dsl.marks import OpaqueObject
from tidegate.generation.dsl.tasks import TaskList
from tidegate.generation.dsl.tasks.base import TimeoutOrName
from tidegate.generation.dsl.texts import Label, SemanticVersion
from tidegate.generation.dsl.use import Use


class Document(DslModel):
    """What the workflow is called, in which version of it, and in which version of the DSL it is written."""

    dsl: Literal["1.0.0"]
    namespace: Label
    name: Label
    version: SemanticVersion
    title: Maybe[str] = None
    summary: Maybe[str] = None
    tags: Maybe[OpaqueObject] = None
    metadata: Maybe[OpaqueObject] = None


class Schedule(DslModel):
    """When the workflow starts: at intervals, by the clock, some time after its last run, or on events."""

    every: Maybe[Duration] = None
    cron: Maybe[str] = None
    after: Maybe[Duration] = None
    on: Maybe[EventConsumption] = None


class Workflow(OpenDslModel):
    """A workflow of Serverless Workflow DSL 1.0.0.

    `Workflow.model_validate(document).to_document() == document` for every document that the schema allows. As in the
    schema, the top level may have further properties, for instance the reference's `evaluate`.

    Raises:
        pydantic.ValidationError: From `model_validate`. `check_document` says the same as readable findings, and more.
    """

    document: Document
    input: Maybe[Input] = None
    use: Maybe[Use] = None
    do: TaskList
    timeout: Maybe[TimeoutOrName] = None
    output: Maybe[Output] = None
    schedule: Maybe[Schedule] = None
