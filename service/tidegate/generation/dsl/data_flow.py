"""What goes into a task or workflow, what comes out, and what is kept in the context."""

from typing import Annotated, Any

from pydantic import Field

from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.choices import by_key, text_or
from tidegate.generation.dsl.endpoints import ExternalResource
from tidegate.generation.dsl.marks import Holds

Transformation = Annotated[
    str | dict[str, Any], text_or(dict, allowed="a runtime expression or an object"), Holds.EXPRESSION
]
"""An expression, or an object whose strings may be runtime expressions `${ }`."""


class InlineSchema(DslModel):
    """A schema written in place; `format` is `json` (JSON Schema) unless said otherwise."""

    format: Maybe[str] = None
    document: Annotated[Any, Holds.OPAQUE]


class ExternalSchema(DslModel):
    """A schema elsewhere."""

    format: Maybe[str] = None
    resource: ExternalResource


DataSchema = Annotated[InlineSchema | ExternalSchema, by_key({"document": InlineSchema, "resource": ExternalSchema})]
"""A schema in place or elsewhere, never both."""


class Input(DslModel):
    """The schema and the transformation of what goes in."""

    schema_: Maybe[DataSchema] = Field(None, alias="schema")
    from_: Maybe[Transformation] = Field(None, alias="from")


class Output(DslModel):
    """The schema and the transformation of what comes out."""

    schema_: Maybe[DataSchema] = Field(None, alias="schema")
    as_: Maybe[Transformation] = Field(None, alias="as")


class Export(Output):
    """The schema of the workflow's context and the expression that makes its new value."""
