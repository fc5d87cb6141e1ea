"""Reads JSON from the upstream: fast if it is valid, leniently otherwise."""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["json_object"]

_VALUE: Final = msgspec.json.Decoder().decode


def json_object(data: bytes, decode: Callable[[bytes], Any] = _VALUE) -> dict[str, Any]:
    """The JSON object in `data`; an empty one if it is anything else.

    `decode` is tried first. A decoder of a `TypedDict` skips all other members.
    """
    try:
        try:
            value = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = json.loads(data)  # accepts NaN and the like, and other shapes
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
