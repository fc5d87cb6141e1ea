"""Replaces what clients have chosen, or what is made from keys, before it is recorded."""

import hashlib
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeVar

from msgspec import Struct, structs

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.queue.flow_state import FlowState
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["Pseudonyms"]

T = TypeVar("T")

_MADE_FROM_KEY: Final = re.compile(r"key-[0-9a-f]{12}")
"""The name of a caller that is not configured: it begins as the hash of its key does (`identity/identify.py`)."""
_DIGITS_BYTES: Final = 6
_REMEMBERED: Final = 10_000


class Pseudonyms:
    """Gives sessions, agents and callers without a configured name other names. Equal names stay equal.

    The new names are keyed hashes, and the key is forgotten with this object: nobody can find out the old ones. Names
    of admins who have set limits are left out.

    Args:
        key: random.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._hidden = lru_cache(_REMEMBERED)(self._hash)

    def hide(self, value: T) -> T:
        """The same value with other names. It may be any struct of a log or of a checkpoint."""
        return self._hide(value)  # type: ignore[no-any-return]

    def _hide(self, value: Any) -> Any:
        if isinstance(value, Demand):
            names = {"session": self._hidden(value.session), "agent": self._hidden(value.agent)}
            return structs.replace(value, caller=self._caller(value.caller), **names)
        if isinstance(value, FlowState):
            return self._flow(value)
        if isinstance(value, Struct):
            return structs.replace(value, by="") if isinstance(value, SetAtRuntime) else self._struct(value)
        if type(value) is dict:
            return {self._hide(name): self._hide(each) for name, each in value.items()}
        if type(value) in {tuple, list}:
            return type(value)(map(self._hide, value))
        return self._caller_name(value) if type(value) is str else value

    def _struct(self, value: Struct) -> Struct:
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        changed = {name: new for name, old in fields.items() if (new := self._hide(old)) is not old}
        return structs.replace(value, **changed) if changed else value

    def _caller(self, caller: Caller) -> Caller:
        name = self._caller_name(caller.name)
        return caller if name == caller.name else replace(caller, name=name)

    def _caller_name(self, name: str) -> str:
        return f"key-{self._hidden(name)}" if _MADE_FROM_KEY.fullmatch(name) else name

    def _flow(self, flow: FlowState) -> FlowState:
        caller, session, role, agent = flow.path
        path = self._caller_name(caller), self._hidden(session), role, self._hidden(agent)
        return structs.replace(flow, path=path, children=self._hide(flow.children))

    def _hash(self, name: str) -> str:
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=_DIGITS_BYTES).hexdigest() if name else ""
