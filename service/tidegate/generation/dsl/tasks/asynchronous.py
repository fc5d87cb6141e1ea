"""Messages and subscriptions of AsyncAPI calls, and the iteration over what a subscription or `listen` receives."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tidegate.generation.dsl.authentication import ReferenceableAuthentication
from tidegate.generation.dsl.base import DslModel, Integer, Maybe
from tidegate.generation.dsl.choices import by_key
from tidegate.generation.dsl.data_flow import Export, Output
from tidegate.generation.dsl.durations import Duration
from tidegate.generation.dsl.endpoints import ExternalResource
from tidegate.generation.dsl.refusals import refused
from tidegate.generation.dsl.tasks.base import TaskList
from tidegate.generation.dsl.texts import RuntimeExpression


class SubscriptionIterator(DslModel):
    """What to do for each event or message; names the variables for it and its index."""

    item: Maybe[str] = None
    at: Maybe[str] = None
    do: Maybe[TaskList] = None
    output: Maybe[Output] = None
    export: Maybe[Export] = None

    def variables_in(self, field: str) -> frozenset[str]:
        """Return the names of the item and of its index, by default `item` and `index`."""
        return (
            frozenset({self.item or "item", self.at or "index"}) if field in {"do", "output", "export"} else frozenset()
        )


class AsyncApiServer(DslModel):
    """The server to use, by its name in the AsyncAPI document."""

    name: str
    variables: Maybe[dict[str, Any]] = None


class AsyncApiMessage(DslModel):
    """A message to publish."""

    payload: Maybe[dict[str, Any]] = None
    headers: Maybe[dict[str, Any]] = None


class _Consumption(DslModel):
    """How long to consume messages, at most."""

    for_: Maybe[Duration] = Field(None, alias="for")


class ConsumeAmount(_Consumption):
    """Consume a number of messages."""

    amount: Integer


class ConsumeWhile(_Consumption):
    """Consume messages while a condition holds."""

    while_: RuntimeExpression = Field(alias="while")


class ConsumeUntil(_Consumption):
    """Consume messages until a condition holds."""

    until: RuntimeExpression


class AsyncApiSubscription(DslModel):
    """Which messages to consume, how many, and what to do for each."""

    filter: Maybe[RuntimeExpression] = None
    consume: Annotated[
        ConsumeAmount | ConsumeWhile | ConsumeUntil,
        by_key({"amount": ConsumeAmount, "while": ConsumeWhile, "until": ConsumeUntil}),
    ]
    foreach: Maybe[SubscriptionIterator] = None


class AsyncApiArguments(DslModel):
    """An operation or a channel of an AsyncAPI document, with a message to publish or a subscription."""

    document: ExternalResource
    channel: Maybe[str] = None
    operation: Maybe[str] = None
    server: Maybe[AsyncApiServer] = None
    protocol: Maybe[
        Literal[
            "amqp",
            "amqp1",
            "anypointmq",
            "googlepubsub",
            "http",
            "ibmmq",
            "jms",
            "kafka",
            "mercure",
            "mqtt",
            "mqtt5",
            "nats",
            "pulsar",
            "redis",
            "sns",
            "solace",
            "sqs",
            "stomp",
            "ws",
        ]
    ] = None
    message: Maybe[AsyncApiMessage] = None
    subscription: Maybe[AsyncApiSubscription] = None
    authentication: Maybe[ReferenceableAuthentication] = None

    @model_validator(mode="after")
    def _says_where_and_what(self) -> Self:
        for first, second in (("operation", "channel"), ("message", "subscription")):
            if (first in self.model_fields_set) == (second in self.model_fields_set):
                raise refused("must have either {first} or {second}", first=first, second=second)
        return self
