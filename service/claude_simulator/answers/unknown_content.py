"""Adds unknown fields, blocks and events to a response: the API may add such within a version. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from claude_simulator.answers.message_format import StreamEvent

_FIELD: Final = {"novel_field": {"nested": [1, None, "ü 🌊 \u2028", 1e-7, 12345678901234567890]}}
_EVENT: Final = StreamEvent({"type": "novel_event", "index": 0, **_FIELD})


def add_unknown_content(message: dict[str, Any]) -> dict[str, Any]:
    """Adds an unknown field to a message and to its usage, and a content block of an unknown type."""
    block = {"type": "novel_block", **_FIELD}
    return {**message, **_FIELD, "content": [*message["content"], block], "usage": {**message["usage"], **_FIELD}}


def add_unknown_events(events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
    """Adds an unknown field to every event of a stream, and unknown events before the end of blocks and message."""
    for event in events:
        if event.data["type"] in {"content_block_stop", "message_delta", "message_stop"}:
            yield _EVENT
        yield StreamEvent({**event.data, **_FIELD}, event.output_tokens)
