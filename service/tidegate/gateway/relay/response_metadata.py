"""The id, model and stop reason of a response, for its span."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ResponseMetadata"]


class ResponseMetadata(NamedTuple):
    """Id, model and stop reason of a Messages response; empty if unknown."""

    response_id: str = ""
    model: str = ""
    stop_reason: str = ""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "ResponseMetadata":
        """Reads a `message` object."""
        return cls(_text(message.get("id")), _text(message.get("model")), _text(message.get("stop_reason")))

    def with_stop_reason(self, delta: object) -> "ResponseMetadata":
        """A copy with the stop reason in the `delta` of a `message_delta` event."""
        reason = delta.get("stop_reason") if isinstance(delta, Mapping) else None
        return self._replace(stop_reason=_text(reason))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
