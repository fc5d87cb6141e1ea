"""CloudEvents: their properties, filters on them, and how many of them to wait for."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tidegate.generation.dsl.base import DslModel, Maybe, OpenDslModel
from tidegate.generation.dsl.choices import by_key, pick_by_key, text_or
from tidegate.generation.dsl.marks import Expression, Holds
from tidegate.generation.dsl.refusals import must_be
from tidegate.generation.dsl.texts import TimeOrExpression, UriOrExpression


class EventProperties(OpenDslModel):
    """Attributes of a CloudEvent; extension attributes are allowed."""

    id: Maybe[str] = None
    source: Maybe[UriOrExpression] = None
    type: Maybe[str] = None
    time: Maybe[TimeOrExpression] = None
    subject: Maybe[str] = None
    datacontenttype: Maybe[str] = None
    dataschema: Maybe[UriOrExpression] = None
    data: Any = None


class EmittedProperties(EventProperties):
    """Attributes of an event to emit: it must say where it comes from and what it is."""

    source: UriOrExpression
    type: str


class FilteredProperties(EventProperties):
    """Attributes that an event must have to pass a filter: at least one."""

    @model_validator(mode="after")
    def _has_a_property(self) -> Self:
        if not self.model_fields_set:
            raise must_be("an object with at least one property of the event, such as type")
        return self


class Correlation(OpenDslModel):
    """A value taken from an event (`from`) that has to be what is expected, or the same as in the first event."""

    from_: Expression = Field(alias="from")
    expect: Maybe[str] = None


class EventFilter(DslModel):
    """Which events to take."""

    with_: FilteredProperties = Field(alias="with")
    correlate: Maybe[dict[str, Correlation]] = None


class AllEvents(DslModel):
    """Wait for an event for each of the filters."""

    all: list[EventFilter]


class OneEvent(DslModel):
    """Wait for one event that passes the filter."""

    one: EventFilter


class AnyEvent(DslModel):
    """Wait for an event that passes any of the filters; no filter passes every event."""

    any: list[EventFilter]


_ENDLESS = {"all": AllEvents, "any": AnyEvent, "one": OneEvent}


class AnyEventUntil(AnyEvent):
    """As `AnyEvent`; with `until`, go on taking events until a condition holds or other events came."""

    until: Maybe[
        Annotated[
            str | AllEvents | AnyEvent | OneEvent,
            text_or(pick_by_key(_ENDLESS), allowed="a runtime expression or an object with one of: all, any, one"),
            Holds.EXPRESSION,
        ]
    ] = None


EventConsumption = Annotated[AllEvents | AnyEventUntil | OneEvent, by_key({**_ENDLESS, "any": AnyEventUntil})]
"""Which events to take: for all filters, any filter, or one filter."""
