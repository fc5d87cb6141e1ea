"""Formats an answer as a JSON message, or as a sequence of server-sent events. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_simulator.answers.answers import Answer, AnswerBlock
from claude_simulator.answers.cache import InputUse

TOKENS_PER_DELTA: Final = 4
"""Output tokens per `content_block_delta`."""

_SIGNATURE: Final = "c2ltdWxhdGVk"  # base64 of "simulated": real signatures are opaque base64


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event, and the output tokens that were produced for it."""

    data: Mapping[str, Any]
    output_tokens: int = 0

    def encode(self) -> bytes:
        """The event as bytes."""
        return encode_event(self.data["type"], encode_json(self.data, separators=(",", ":")))


def encode_json(value: Mapping[str, Any], *, separators: tuple[str, str] | None = None) -> bytes:
    """JSON in UTF-8, like the API. A lone surrogate, which UTF-8 cannot represent, stays an escape."""
    return json.dumps(value, ensure_ascii=False, separators=separators).encode(errors="backslashreplace")


def encode_event(name: str, data: bytes) -> bytes:
    """Encodes an event with a name and JSON data."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


@dataclass(frozen=True, slots=True)
class MessageMetadata:
    """The fields of a message other than its content."""

    message_id: str
    model_id: str
    input_use: InputUse
    speed: str | None = None

    def tool_id(self, index: int) -> str:
        """The id of a tool call, unique across messages."""
        return f"toolu_{self.message_id.removeprefix('msg_')[:22]}{index:02}"


def message_json(metadata: MessageMetadata, answer: Answer) -> dict[str, Any]:
    """The answer as a `Message`."""
    return {
        "id": metadata.message_id,
        "type": "message",
        "role": "assistant",
        "model": metadata.model_id,
        "content": [_content(metadata.tool_id(index), block) for index, block in enumerate(answer.blocks)],
        **_stop(answer),
        "usage": _start_usage(metadata) | _output_usage(answer),
    }


def message_events(metadata: MessageMetadata, answer: Answer) -> Iterator[StreamEvent]:
    """The answer as events: message start; start, deltas and stop of blocks; message delta with usage; message stop.

    Like the real API, `usage.output_tokens` of the first event is a placeholder, and a `ping` follows the start of the
    first block.
    """
    message = message_json(metadata, Answer(())) | {"stop_reason": None, "usage": _start_usage(metadata)}
    yield StreamEvent({"type": "message_start", "message": message})
    for index, block in enumerate(answer.blocks):
        yield StreamEvent(
            {"type": "content_block_start", "index": index, "content_block": _empty(metadata.tool_id(index), block)}
        )
        if index == 0:
            yield StreamEvent({"type": "ping"})
        for start in range(0, len(block.pieces), TOKENS_PER_DELTA):
            pieces = block.pieces[start : start + TOKENS_PER_DELTA]
            yield _delta(index, _text_delta(block.kind, "".join(pieces)), len(pieces))
        if block.kind == "thinking":
            yield _delta(index, {"type": "signature_delta", "signature": _SIGNATURE}, 0)
        yield StreamEvent({"type": "content_block_stop", "index": index})
    use = metadata.input_use
    usage = {
        "input_tokens": use.uncached,
        "cache_creation_input_tokens": use.written_5m + use.written_1h,
        "cache_read_input_tokens": use.read,
    }
    yield StreamEvent({"type": "message_delta", "delta": _stop(answer), "usage": usage | _output_usage(answer)})
    yield StreamEvent({"type": "message_stop"})


def _delta(index: int, delta: dict[str, Any], output_tokens: int) -> StreamEvent:
    return StreamEvent({"type": "content_block_delta", "index": index, "delta": delta}, output_tokens)


def _text_delta(kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "thinking":
            return {"type": "thinking_delta", "thinking": text}
        case "tool_use":
            return {"type": "input_json_delta", "partial_json": text}
        case _:
            return {"type": "text_delta", "text": text}


def _empty(tool_id: str, block: AnswerBlock) -> dict[str, Any]:
    match block.kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use":
            return {"type": "tool_use", "id": tool_id, "name": block.tool_name, "input": {}}
        case _:
            return {"type": "text", "text": ""}


def _content(tool_id: str, block: AnswerBlock) -> dict[str, Any]:
    match block.kind:
        case "thinking":
            filled: dict[str, Any] = {"thinking": block.text, "signature": _SIGNATURE}
        case "tool_use":
            filled = {"input": json.loads(block.text)}
        case _:
            filled = {"text": block.text}
    return _empty(tool_id, block) | filled


def _stop(answer: Answer) -> dict[str, Any]:
    return {
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
    }


def _start_usage(metadata: MessageMetadata) -> dict[str, Any]:
    use = metadata.input_use
    return {
        "input_tokens": use.uncached,
        "cache_creation_input_tokens": use.written_5m + use.written_1h,
        "cache_read_input_tokens": use.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": use.written_5m,
            "ephemeral_1h_input_tokens": use.written_1h,
        },
        "output_tokens": 1,
        "service_tier": "standard",
        **({} if metadata.speed is None else {"speed": metadata.speed}),
    }


def _output_usage(answer: Answer) -> dict[str, Any]:
    return {
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.thinking_tokens},
    }
