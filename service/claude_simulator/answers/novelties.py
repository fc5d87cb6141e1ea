"""Answers with what no client knows yet: the API adds fields, content blocks and events within a version. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from claude_simulator.answers.sse import StreamEvent

_FIELD: Final = {"novel_field": {"nested": [1, None, "ü 🌊 \u2028", 1e-7, 12345678901234567890]}}
_EVENT: Final = StreamEvent({"type": "novel_event", "index": 0, **_FIELD})


def with_novelties(message: dict[str, Any]) -> dict[str, Any]:
    """A message with a field that is unknown, on top and in its usage, and a content block of an unknown type."""
    block = {"type": "novel_block", **_FIELD}
    return {**message, **_FIELD, "content": [*message["content"], block], "usage": {**message["usage"], **_FIELD}}


def novel_events(events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
    """A stream with a field that is unknown in every event, and an unknown event before each of the message's end."""
    for event in events:
        if event.data["type"] in {"content_block_stop", "message_delta", "message_stop"}:
            yield _EVENT
        yield StreamEvent({**event.data, **_FIELD}, event.output_tokens)
