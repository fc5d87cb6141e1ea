"""Wait for events."""

from typing import Literal

from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.events import EventConsumption
from tidegate.generation.dsl.tasks.asynchronous import SubscriptionIterator
from tidegate.generation.dsl.tasks.base import TaskBase


class Listener(DslModel):
    """Which events to wait for, and what of them to read."""

    to: EventConsumption
    read: Maybe[Literal["data", "envelope", "raw"]] = None


class ListenTask(TaskBase, keyword="listen"):
    """Wait for events; with `foreach`, do something for each."""

    listen: Listener
    foreach: Maybe[SubscriptionIterator] = None
