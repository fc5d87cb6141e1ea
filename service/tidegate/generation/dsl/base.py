"""What all models of workflow documents share: strictness, aliases, absence, and exact round trips.

Facts about the DSL in this package come from the JSON Schema and the reference of the Serverless Workflow
specification, tag v1.0.0 (github:serverlessworkflow/specification, `schema/workflow.yaml` and `dsl-reference.md`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from tidegate.generation.dsl.refusals import must_be, refused

_T = TypeVar("_T")


def _refuse_null(value: object) -> object:
    if value is None:
        raise must_be("a value, or be left out")
    return value


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Maybe = Annotated[_T | None, BeforeValidator(_refuse_null)]
"""A property that may be absent (then `None` here) but, as in the schema, must not be `null` when it is given."""

Integer = Annotated[int, BeforeValidator(_integral)]
"""A whole number in the sense of JSON Schema: `3` and `3.0`, but not `true` and not `"3"`."""


class OpenDslModel(BaseModel):
    """A JSON object of the DSL that may carry further properties; they are kept.

    Values are immutable and built only when first needed (`defer_build`), so that an import costs next to nothing.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)

    def to_document(self) -> dict[str, Any]:
        """Return the object as it was given: DSL names, JSON values, and no default that was not written."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def variables_in(self, _field: str) -> frozenset[str]:
        """Return the jq variables (without `$`) that this object adds for expressions inside one of its fields."""
        return frozenset()


class DslModel(OpenDslModel):
    """A JSON object of the DSL that allows no further properties. An error about one lists those allowed."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_properties(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report unknown properties together with all other errors, each saying what is allowed here."""
        if not isinstance(value, Mapping):
            return handler(value)
        allowed = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [name for name in value if name not in allowed]
        if not unknown:
            return handler(value)
        refusal = refused("is not a property here; allowed: {allowed}", allowed=", ".join(allowed))
        lines = [InitErrorDetails(type=refusal, loc=(str(name),), input=value[name]) for name in unknown]
        try:
            handler({name: item for name, item in value.items() if name in allowed})
        except ValidationError as error:
            lines += [
                InitErrorDetails(
                    type=PydanticCustomError(line["type"], line["msg"], line.get("ctx")),
                    loc=line["loc"],
                    input=line["input"],
                )
                for line in error.errors(include_url=False)
            ]
        raise ValidationError.from_exception_data(cls.__name__, lines)
