"""Checks that a document consists of JSON values and is not too large to be checked further."""

import math

from tidegate.generation.dsl.findings import Finding, pointer

__all__ = ["MAX_DEPTH", "MAX_VALUES", "find_non_json"]

MAX_DEPTH = 100
"""The allowed depth of objects and lists: about thirty tasks inside each other."""

MAX_VALUES = 100_000
"""The allowed number of values. Values that YAML aliases repeat count each time."""


def find_non_json(document: object) -> Finding | None:
    """Returns a finding for the first value that JSON does not have (a date, NaN, a number as key), or for the size."""
    count = 0
    ahead: list[tuple[str, int, object]] = [("", 0, document)]
    while ahead:
        path, depth, value = ahead.pop()
        count += 1
        if count > MAX_VALUES:
            return Finding("", f"has more than {MAX_VALUES} values; that is the most allowed")
        if depth > MAX_DEPTH:
            return Finding(path, f"is nested more than {MAX_DEPTH} levels deep; that is the most allowed")
        problem = _problem(value)
        if problem is not None:
            return Finding(path, problem)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ahead += [(pointer([key], path), depth + 1, item) for key, item in reversed(list(items))]
    return None


def _problem(value: object) -> str | None:
    """Returns what is wrong with a value itself, not with the values inside it."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"has the key {key!r:.60}; keys must be strings (quote it in YAML)"
            if not _can_be_encoded(key):
                return f"has the key {key!r:.60}, which holds a lone surrogate; that is no character"
    elif isinstance(value, str):
        return None if _can_be_encoded(value) else "holds a lone surrogate, which is no character"
    elif not isinstance(value, list) and not _is_scalar(value):
        return f"must be a JSON value, not {value!r:.60} (quote it in YAML)"
    return None


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
