"""JSON from clients and from the upstream: quickly where it is well-formed, leniently where it is not quite."""

import json
from typing import Any

import orjson

__all__ = ["json_object", "parsed"]


def parsed(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)  # takes what is not quite JSON, or says better what is wrong with it


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; empty when it is none."""
    try:
        value = parsed(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
