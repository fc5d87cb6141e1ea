"""Durations: an object of whole numbers, or an ISO 8601 string."""

import re
from typing import Annotated, Self

from pydantic import model_validator

from tidegate.generation.dsl.base import DslModel, Integer, Maybe
from tidegate.generation.dsl.choices import text_or
from tidegate.generation.dsl.marks import Holds
from tidegate.generation.dsl.refusals import must_be
from tidegate.generation.dsl.texts import checked

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_ISO_8601 = re.compile(
    rf"P(?!$)({_NUMBER}Y)?({_NUMBER}M)?({_NUMBER}W)?({_NUMBER}D)?(T(?=[0-9])({_NUMBER}H)?({_NUMBER}M)?({_NUMBER}S)?)?"
)
_IN_WORDS = 'an ISO 8601 duration such as PT5M or P1DT12H, or an object such as {"minutes": 5}'


class InlineDuration(DslModel):
    """A duration as a sum of parts, at least one of them given."""

    days: Maybe[Integer] = None
    hours: Maybe[Integer] = None
    minutes: Maybe[Integer] = None
    seconds: Maybe[Integer] = None
    milliseconds: Maybe[Integer] = None

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        if not self.model_fields_set:
            raise must_be("an object with at least one of: days, hours, minutes, seconds, milliseconds")
        return self


Duration = Annotated[
    str | InlineDuration,
    text_or(InlineDuration.model_validate, checked(_IN_WORDS, _ISO_8601.fullmatch), allowed=_IN_WORDS),
    Holds.DURATION,
]
"""A duration in either form."""


class Timeout(DslModel):
    """How long a task or workflow may take."""

    after: Duration
