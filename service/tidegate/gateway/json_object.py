"""JSON from the upstream, which may be anything."""

import json
from typing import Any

__all__ = ["json_object"]


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; empty when it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
