"""Replaces what clients have chosen, or what is made from keys, before it is recorded."""

import hashlib
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeVar

from msgspec import Struct, structs

from tidegate.core.accounts.budget_meter import MeterState
from tidegate.core.domain.budget import BudgetRule, BudgetWindow, Each, Spender
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

    The new names are keyed hashes, and the key is forgotten with this object: nobody can find out the old ones. The
    names of admins who have set limits, and of contacts of budgets, are left out.

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
        if isinstance(value, Struct):
            return self._struct(value)
        if isinstance(value, Spender):
            return value._replace(session=self._hidden(value.session))
        if type(value) is dict:
            return {self._hide(name): self._hide(each) for name, each in value.items()}
        if type(value) in {tuple, list}:
            return type(value)(map(self._hide, value))
        return self._caller_name(value) if type(value) is str else value

    def _struct(self, value: Struct) -> Struct:
        changed: dict[str, Any] = {}
        match value:
            case FlowState():
                caller, session, role, agent = value.path
                path = self._caller_name(caller), self._hidden(session), role, self._hidden(agent)
                changed = {"path": path, "children": self._hide(value.children)}
            case Demand():
                names = {"session": self._hidden(value.session), "agent": self._hidden(value.agent)}
                changed = {"caller": self._caller(value.caller), **names}
            case SetAtRuntime():
                changed = {"by": ""}
            case BudgetRule():
                changed = {"contact": ""}
            case BudgetWindow():
                spent = value.spent and {self._subject(value.rule, name): units for name, units in value.spent.items()}
                changed = {"rule": self._hide(value.rule), "spent": spent}
            case MeterState():
                rule = value.window.rule
                budgets = (structs.replace(each, subject=self._subject(rule, each.subject)) for each in value.budgets)
                changed = {"window": self._hide(value.window), "budgets": tuple(budgets)}
            case _:
                fields = {name: getattr(value, name) for name in value.__struct_fields__}
                changed = {name: new for name, old in fields.items() if (new := self._hide(old)) is not old}
        return structs.replace(value, **changed) if changed else value

    def _subject(self, rule: BudgetRule, subject: str) -> str:
        """The subject of a budget, as `BudgetRule.subject` writes it."""
        if rule.each is not Each.SESSION:
            return subject
        caller, separator, session = subject.partition("/")
        return f"{caller}{separator}{self._hidden(session)}"

    def _caller(self, caller: Caller) -> Caller:
        name = self._caller_name(caller.name)
        return caller if name == caller.name else replace(caller, name=name)

    def _caller_name(self, name: str) -> str:
        return f"key-{self._hidden(name)}" if _MADE_FROM_KEY.fullmatch(name) else name

    def _hash(self, name: str) -> str:
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=_DIGITS_BYTES).hexdigest() if name else ""
