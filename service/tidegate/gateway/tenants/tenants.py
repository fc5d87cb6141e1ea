"""Decides which objects a caller may use."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.ownership import Owner, Ownership
from tidegate.core.ports.transport import Fields
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.tenants.own_pages import Item
from tidegate.identity.identify import Identifier

__all__ = ["Tenants", "not_found"]

_SHARED_SOURCES: Final = frozenset({"anthropic", "anthropic_example"})
"""Makers of skills that all workspaces share (Python SDK 2.13.0, `types/skill.py`)."""
_SHOWN_CHARACTERS: Final = 80
_ASKED_AT_ONCE: Final = 1_000
"""Objects in one question to the ledger. A body may name 200,000: the questions of other calls come in between."""


def not_found(object_id: str) -> InvalidCall:
    """The error for an object that does not exist, or that the caller may not see: nobody can tell the difference."""
    return InvalidCall(f"Not found: {object_id[:_SHOWN_CHARACTERS]}", status=404, error_type="not_found_error")


def _parts(ids: Collection[str]) -> Iterator[Sequence[str]]:
    asked = list(ids)
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        yield asked[start : start + _ASKED_AT_ONCE]


class Tenants:
    """Decides which objects a caller may use. A tenant is a caller or a team.

    Args:
        ownership: knows the owners of objects.
        identifier: identifies the caller of a request.
        tenant: what a tenant is.
        unowned: who may use objects without an owner.

    Attributes:
        identifier: as given. If it has no callers, there are no tenants.
    """

    def __init__(
        self,
        ownership: Ownership,
        identifier: Identifier,
        *,
        tenant: Literal["caller", "team"],
        unowned: Literal["admin", "everyone"],
    ) -> None:
        self._ownership = ownership
        self.identifier = identifier
        self._tenant = tenant
        self._unowned = unowned

    def caller(self, fields: Fields) -> Caller | None:
        """The caller of a request; None if there are no callers, who could be tenants.

        Raises:
            Refusal: as `Identifier.identify`.
        """
        return self.identifier.identify(fields) if self.identifier.has_callers else None

    def restricts(self, caller: Caller) -> bool:
        """Whether there are objects that this caller may not use."""
        return self.identifier.has_callers and not caller.is_admin

    async def are_own(self, caller: Caller, ids: Sequence[str]) -> list[bool]:
        """Whether the caller may use each of these objects.

        Raises:
            Refusal: LEDGER_UNAVAILABLE, the ledger cannot say.
        """
        owners = await self._owners(caller, ids)
        return [self._is_own(caller, owners.get(each)) for each in ids]

    async def are_own_items(self, caller: Caller, items: Sequence[Item], collection: str) -> list[bool]:
        """Whether the caller may see each of these objects of a list; raises as `are_own`.

        An object without an owner belongs to the owner of the object that has created it, which is recorded.
        """
        asked = {name for item in items for name in (item.name, item.parent) if name is not None}
        owners = await self._ownership.owners(asked)
        inherited: defaultdict[Owner, list[str]] = defaultdict(list)
        found = []
        for item in items:
            owner = owners.get(item.name or "")
            if owner is None and item.name and (owner := owners.get(item.parent or "")) is not None:
                inherited[owner].append(item.name)
            is_shared = collection == "skills" and item.source in _SHARED_SOURCES
            found.append(is_shared or self._is_own(caller, owner))
        for owner, ids in inherited.items():
            await self._ownership.record(ids, owner)
        return found

    async def check(self, caller: Caller, ids: Collection[str]) -> None:
        """Checks that the caller may use all of these objects. Ends at the first that it may not.

        Raises:
            InvalidCall: 404, as if one of them did not exist.
            Refusal: as `are_own`.
        """
        for asked in _parts(ids):
            for each, is_own in zip(asked, await self.are_own(caller, asked), strict=True):
                if not is_own:
                    raise not_found(each)

    async def check_others(self, caller: Caller, ids: Collection[str]) -> None:
        """Checks that none of these objects belongs to another tenant; raises as `check`."""
        for asked in _parts(ids):
            owners = await self._owners(caller, asked)
            for each, owner in owners.items():
                if not self._is_own(caller, owner):
                    raise not_found(each)

    async def record(self, caller: Caller, ids: Collection[str]) -> None:
        """Records that the caller has created objects."""
        await self._ownership.record(ids, Owner(caller.team, caller.name))

    async def inherit(self, object_id: str, ids: Collection[str]) -> None:
        """Records that objects belong to the owner of the object that has created them, if that has one."""
        owner = (await self._ownership.owners([object_id])).get(object_id) if ids else None
        if owner is not None:
            await self._ownership.record(ids, owner)

    async def record_if_new(self, caller: Caller, ids: Collection[str]) -> None:
        """Records that the caller has created objects, unless they have an owner already."""
        try:
            known: Collection[str] = await self._ownership.owners(ids)
        except Refusal:
            known = ()  # an owner that is in the database stays there
        new = [each for each in ids if each not in known]
        if new:
            await self.record(caller, new)

    async def forget(self, object_id: str) -> None:
        """Forgets an object that was deleted."""
        await self._ownership.forget(object_id)

    async def _owners(self, caller: Caller, ids: Collection[str]) -> Mapping[str, Owner]:
        """The owners, as far as they matter."""
        return await self._ownership.owners(ids) if ids and not caller.is_admin else {}

    def _is_own(self, caller: Caller, owner: Owner | None) -> bool:
        if caller.is_admin:
            return True
        if owner is None:
            return self._unowned == "everyone"
        return owner.team == caller.team if self._tenant == "team" else owner.caller == caller.name
