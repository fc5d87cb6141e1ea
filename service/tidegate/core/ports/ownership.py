"""The protocol of the ledger's owners of objects: batches, files, sessions and whatever else an id of the API names."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

__all__ = ["Owner", "Ownership"]


class Owner(NamedTuple):
    """The creator of an object: its caller, and the team of that caller at the time."""

    team: str
    caller: str


class Ownership(Protocol):
    """Knows the owners of objects. Belongs to one event loop. No method waits long for the database."""

    async def owners(self, ids: Collection[str]) -> Mapping[str, Owner]:
        """The owners of those objects that have one.

        Raises:
            Refusal: LEDGER_UNAVAILABLE, the database does not say in time.
        """
        ...

    async def record(self, ids: Collection[str], owner: Owner) -> None:
        """Records the owner of new objects. An object that has an owner keeps it.

        This process knows them at once. Others know them when this returns, unless the database does not answer within
        a second: then they are written as soon as it does.
        """
        ...

    async def forget(self, object_id: str) -> None:
        """Forgets an object that was deleted. A failure is ignored: the API does not use an id again."""
        ...
