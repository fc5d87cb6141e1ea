"""Whether something is a JSON value of reasonable size at all, which models with free-form parts rely on."""

import math

from tidegate.generation.dsl.findings import Finding, pointer

MAX_DEPTH = 100
"""How deeply objects and lists may be nested; about thirty tasks inside each other."""

MAX_VALUES = 100_000
"""How many values a document may have, counted as often as they appear (YAML aliases repeat them)."""


def find_non_json(document: object) -> Finding | None:
    """Return a finding for the first thing that JSON cannot say (a date, NaN, a number as key) or that is too big."""
    count = 0
    ahead: list[tuple[str, int, object]] = [("", 0, document)]
    while ahead:
        path, depth, value = ahead.pop()
        count += 1
        if count > MAX_VALUES:
            return Finding("", f"has more than {MAX_VALUES} values; that is the most allowed")
        if depth > MAX_DEPTH:
            return Finding(path, f"is nested more than {MAX_DEPTH} levels deep; that is the most allowed")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    return Finding(path, f"has the key {key!r:.60}; keys must be strings (quote it in YAML)")
            ahead += [(pointer([key], path), depth + 1, item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            ahead += [(pointer([at], path), depth + 1, value[at]) for at in reversed(range(len(value)))]
        elif not _is_scalar(value):
            return Finding(path, f"must be a JSON value, not {value!r:.60} (quote it in YAML)")
    return None


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
