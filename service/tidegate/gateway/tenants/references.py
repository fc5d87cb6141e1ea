"""Finds the objects that the body of a request names: files, skills, agents, sessions and others."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Collection
from typing import Final

from tidegate.core.domain.caller import Caller
from tidegate.core.ports.transport import Fields, Headers
from tidegate.gateway.tenants.tenants import Tenants

__all__ = ["References", "named_objects", "quoted_ids"]

_NAMING: Final = frozenset(
    {
        *("file_id", "skill_id", "container", "container_id", "agent", "agent_id", "environment_id", "session_id"),
        *("session_ids", "vault_id", "vault_ids", "memory_store_id", "deployment_id", "agents", "predefined_agents"),
    }
)
"""Members that name objects (Python SDK 2.13.0, all `…_params.py` and `…_param.py`)."""
_OF_CLIENTS: Final = frozenset({"input", "input_schema", "input_examples", "schema", "metadata"})
"""Members whose content is the client's own: it may look like anything."""
_USER_PROFILE: Final = b"anthropic-user-profile-id"
_ESCAPE: Final = b"\\u00"
_ESCAPED: Final = re.compile(rb"\\u00([3-7][0-9a-fA-F])")
"""An ASCII character that may be part of an id. No usual encoder escapes letters."""
_QUOTED_ID: Final = re.compile(
    rb'"((?:file|skill|container)_[0-9A-Za-z]{8,64}'
    rb'|(?!(?:toolu|srvtoolu|mcptoolu|msg|req)_)[a-z]{2,20}_(?=[a-z]*[0-9A-Z])[0-9A-Za-z]{8,64})"'
)
"""An id of any kind that can have an owner. All but the first three kinds need a digit or a capital: many names of
tools and members would look like ids otherwise, and each would be asked for."""
_FORMS: Final = ("/v1/files/", "/v1/skills/")
"""Routes that take forms, such as uploads. A form names no object of a tenant."""
_MAX_OBJECTS: Final = 20_000
_MAX_VALUES: Final = 200_000
"""A body with this many objects and values is decoded in some 20 ms."""
_SLICE_BYTES: Final = 64 * 1024
_LONGEST_ID_BYTES: Final = 6 * 90
"""The length of the longest id, if each of its characters is escaped."""


class References:
    """Checks the objects that bodies name.

    Args:
        tenants: decides which objects a caller may use.
    """

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    @property
    def are_checked(self) -> bool:
        """Whether there are tenants."""
        return self._tenants.identifier.has_callers

    def are_read(self, path: str, fields: Fields) -> bool:
        """Whether the body of a call with this path and these header fields may name objects of a tenant.

        Other routes than those that take forms may read a body as JSON, whatever its media type is.
        """
        is_form = fields.get(b"content-type", b"").lower().startswith(b"multipart/")
        return not (is_form and f"{path}/".startswith(_FORMS))

    async def check_fields(self, caller: Caller, headers: Headers) -> None:
        """Checks the header fields, also those that are repeated; raises as `check`."""
        profiles = [value.decode("latin-1") for name, value in headers if name == _USER_PROFILE]
        if profiles:
            await self._tenants.check(caller, profiles)

    async def check(self, caller: Caller, body: bytes) -> None:
        """Checks a whole body. If it has too many parts to be decoded, it is searched like a long one.

        Raises:
            InvalidCall: 404, it names an object that the caller may not use.
            Refusal: LEDGER_UNAVAILABLE, the ledger cannot say.
        """
        if body.count(b"{") <= _MAX_OBJECTS and body.count(b",") + body.count(b"[") <= _MAX_VALUES:
            await self._tenants.check(caller, named_objects(body))
            return
        async for _ in self.checked(caller, _slices(body)):
            await asyncio.sleep(0)

    async def checked(self, caller: Caller, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of a body that is too long to be kept. It ends with an error at an object of another tenant.

        Raises:
            InvalidCall: 404, the body names an object of another tenant; and as `chunks`.
            Refusal: as `check`.
        """
        tail = b""
        async for chunk in chunks:
            searched = tail + chunk
            await self._tenants.check_others(caller, quoted_ids(searched))
            tail = searched[-_LONGEST_ID_BYTES:]
            yield chunk


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _SLICE_BYTES):
        yield body[start : start + _SLICE_BYTES]


def named_objects(body: bytes) -> Collection[str]:
    """The ids in those members of a JSON body that name objects. All repeated members count.

    Of a body that is not JSON for Python, all `quoted_ids` count: the upstream may be more lenient. An id has an
    underscore: a skill of Anthropic's, such as `xlsx`, is no object of a tenant.
    """

    def read(pairs: list[tuple[str, object]]) -> _Names:
        names = _Names()
        for member, value in pairs:
            if member in _OF_CLIENTS:
                continue
            names.add(value)
            if member == "id" and isinstance(value, str):
                names.own.append(value)
            elif member in _NAMING:
                names.inner += _ids(value)
        return names

    try:
        found = _Names()
        found.add(json.loads(body, object_pairs_hook=read, parse_int=_unread, parse_float=_unread))
    except (ValueError, RecursionError):  # Python 3.13 decodes lists that are nested too deeply for `add`
        return quoted_ids(body)
    return dict.fromkeys(name for name in found.inner if "_" in name)


def _unread(_number: str) -> None:
    """Stands for a number, of which no id consists. Python refuses to read one of over 4,300 digits."""


def quoted_ids(piece: bytes) -> Collection[str]:
    """The strings in a piece of JSON that have the form of an id, wherever they are."""
    if _ESCAPE in piece:
        piece = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), piece)
    return dict.fromkeys(found.decode() for found in _QUOTED_ID.findall(piece))


class _Names:
    """The names in an object: its own `id`, and those that it names or contains."""

    __slots__ = ("inner", "own")

    def __init__(self) -> None:
        self.own: list[str] = []
        self.inner: list[str] = []

    def add(self, value: object) -> None:
        """Adds the names that a value contains. It takes them over: no level copies them."""
        if isinstance(value, _Names):
            shorter, self.inner = sorted((self.inner, value.inner), key=len)
            self.inner += shorter
        elif isinstance(value, list):
            for each in value:
                self.add(each)


def _ids(value: object) -> list[str]:
    """The ids of a member that names objects: a text, an object with an `id`, or a list of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, _Names):
        return value.own
    return [each for item in value for each in _ids(item)] if isinstance(value, list) else []
