"""JSON from the upstream: quickly where it is well-formed, leniently where it is not quite."""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["json_object"]

_VALUE: Final = msgspec.json.Decoder().decode


def json_object(data: bytes, decode: Callable[[bytes], Any] = _VALUE) -> dict[str, Any]:
    """The JSON object in `data`; empty when it is none.

    `decode` may pass over members that are not wanted: a decoder of a `TypedDict` builds nothing of them.
    """
    try:
        try:
            value = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = json.loads(data)  # takes what is not quite JSON, and other shapes
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
