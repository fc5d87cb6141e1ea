"""Finds the numbers in an object, for checks of its whole state."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["floats_in"]


def floats_in(value: Any) -> Iterator[tuple[str, float]]:
    """Every float that is reachable from a value by attributes and items, with the class that contains it."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        holder, each = stack.pop()
        if isinstance(each, float):
            yield holder, each
        elif id(each) not in seen and not isinstance(each, str | bytes | int | type):
            seen.add(id(each))
            stack += [(holder, part) for part in _items(each)]
            stack += [(type(each).__name__, part) for part in _attributes(each)]


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set | frozenset | deque) else []


def _attributes(value: Any) -> list[Any]:
    if not type(value).__module__.startswith("tidegate."):
        return []
    names = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    return [getattr(value, name) for name in (*names, *getattr(value, "__dict__", ())) if hasattr(value, name)]
