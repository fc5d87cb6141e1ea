"""Owners of objects in memory."""

from collections.abc import Collection, Mapping

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.ownership import Owner


class FakeOwnership:
    """Implements `Ownership`. While it `fails`, nothing can be asked."""

    def __init__(self) -> None:
        self.known: dict[str, Owner] = {}
        self.fails = False
        self.asked: list[set[str]] = []
        self.recorded: list[set[str]] = []

    async def owners(self, ids: Collection[str]) -> Mapping[str, Owner]:
        self.asked.append(set(ids))
        if self.fails:
            raise Refusal(Cause.LEDGER_UNAVAILABLE, "the ledger cannot say", retry_after_seconds=5)
        return {each: self.known[each] for each in ids if each in self.known}

    async def record(self, ids: Collection[str], owner: Owner) -> None:
        self.recorded.append(set(ids))
        for each in ids:
            self.known.setdefault(each, owner)

    async def forget(self, object_id: str) -> None:
        self.known.pop(object_id, None)
