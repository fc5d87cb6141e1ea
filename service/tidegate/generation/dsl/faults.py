"""Errors that a workflow raises or catches, and how it tries again."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tidegate.generation.dsl.base import DslModel, Integer, Maybe, OpenDslModel
from tidegate.generation.dsl.choices import by_key
from tidegate.generation.dsl.durations import Duration
from tidegate.generation.dsl.marks import Expression
from tidegate.generation.dsl.refusals import must_be
from tidegate.generation.dsl.texts import PointerOrExpression, UriOrExpression


class ErrorDefinition(DslModel):
    """An error as problem details (RFC 7807): what kind, with which status code, where and why."""

    type: UriOrExpression
    status: Integer
    instance: Maybe[PointerOrExpression] = None
    title: Maybe[str] = None
    detail: Maybe[str] = None


class ErrorFilter(OpenDslModel):
    """Values that an error must have to be caught: at least one."""

    type: Maybe[str] = None
    status: Maybe[Integer] = None
    instance: Maybe[str] = None
    title: Maybe[str] = None
    details: Maybe[str] = None

    @model_validator(mode="after")
    def _has_a_property(self) -> Self:
        if not self.model_fields_set:
            raise must_be("an object with at least one of: type, status, instance, title, details")
        return self


class CaughtErrors(OpenDslModel):
    """Which errors to catch; all of them without a filter."""

    with_: Maybe[ErrorFilter] = Field(None, alias="with")


class ConstantBackoff(DslModel):
    """Always wait the same time."""

    constant: dict[str, Any]


class ExponentialBackoff(DslModel):
    """Wait twice as long each time."""

    exponential: dict[str, Any]


class LinearBackoff(DslModel):
    """Wait longer by the same amount each time."""

    linear: dict[str, Any]


class AttemptLimit(DslModel):
    """How many attempts, and how long each may take."""

    count: Maybe[Integer] = None
    duration: Maybe[Duration] = None


class RetryLimit(DslModel):
    """When to stop trying: attempts, and the time over all of them."""

    attempt: Maybe[AttemptLimit] = None
    duration: Maybe[Duration] = None


class Jitter(DslModel):
    """The range of the random time that is added to a delay."""

    from_: Duration = Field(alias="from")
    to: Duration


class RetryPolicy(DslModel):
    """When to try again, after which delay, and how often."""

    when: Maybe[Expression] = None
    except_when: Maybe[Expression] = Field(None, alias="exceptWhen")
    delay: Maybe[Duration] = None
    backoff: Maybe[
        Annotated[
            ConstantBackoff | ExponentialBackoff | LinearBackoff,
            by_key({"constant": ConstantBackoff, "exponential": ExponentialBackoff, "linear": LinearBackoff}),
        ]
    ] = None
    limit: Maybe[RetryLimit] = None
    jitter: Maybe[Jitter] = None
