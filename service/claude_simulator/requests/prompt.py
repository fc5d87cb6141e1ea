"""The prompt of a request: its blocks in reading order, and their sizes in tokens.

There is no real tokenizer: input tokens are characters divided by a ratio of the model, and real counts differ. Output
is cut into pieces of one token each, so that an answer can be truncated and streamed exactly.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from claude_simulator.errors import invalid_request
from claude_simulator.requests.media import document_tokens, image_tokens
from claude_simulator.requests.models import Model

MESSAGE_OVERHEAD_TOKENS: Final = 4

_NOTE: Final = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_PIECE: Final = re.compile(r"\s*(?:\w{1,6}|[^\w\s])|\s+")


@dataclass(frozen=True, slots=True)
class PromptBlock:
    """One block. The reading order is tools, system, messages. `ttl` is set at a cache breakpoint."""

    content: Mapping[str, Any]
    tokens: int
    ttl: str | None


def prompt_blocks(body: Mapping[str, Any], model: Model) -> list[PromptBlock]:
    """The blocks of a validated request. A top-level `cache_control` is a breakpoint at the last one."""
    blocks = [
        PromptBlock(
            content={**{key: value for key, value in raw.items() if key != "cache_control"}, "in": place},
            tokens=(_tool_tokens(raw, model) if place == "tools" else _block_tokens(raw, model)) + overhead,
            ttl=_ttl(raw),
        )
        for place, overhead, raw in _raw_blocks(body, model)
    ]
    automatic = _ttl(body)
    if automatic is not None:
        last = blocks[-1]
        blocks[-1] = PromptBlock(last.content, last.tokens, automatic)
    return blocks


def check_context(blocks: list[PromptBlock], model: Model) -> None:
    """Refuses a prompt longer than the model's context; the message is the API's.

    Raises:
        ApiError: 400.
    """
    tokens = sum(block.tokens for block in blocks)
    if tokens > model.max_input_tokens:
        raise invalid_request(f"prompt is too long: {tokens} tokens > {model.max_input_tokens} maximum")


def split_tokens(text: str) -> list[str]:
    """Cut a text into pieces of one token each."""
    return _PIECE.findall(text)


def text_of(content: object) -> str:
    """The text of a `content` or `system` value: a string, or the text blocks of a list, joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def user_texts(body: Mapping[str, Any]) -> list[str]:
    """The user's text of each message, in order; messages without text (tool results) are left out."""
    texts = [text_without_notes(message) for message in body["messages"] if message["role"] == "user"]
    return [text for text in texts if text.strip()]


def text_without_notes(message: Mapping[str, Any]) -> str:
    """The text of a message without the `<system-reminder>` notes that Claude Code adds."""
    return _NOTE.sub("", text_of(message["content"]))


def _raw_blocks(body: Mapping[str, Any], model: Model) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    is_forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    tool_prompt_tokens = model.forced_tool_prompt_tokens if is_forced else model.tool_prompt_tokens
    for number, tool in enumerate(body.get("tools") or ()):
        yield "tools", tool_prompt_tokens if number == 0 else 0, tool
    for block in _as_blocks(body.get("system") or []):
        yield "system", 0, block
    for message in body["messages"]:
        for number, block in enumerate(_as_blocks(message["content"])):
            yield message["role"], MESSAGE_OVERHEAD_TOKENS if number == 0 else 0, block


def _as_blocks(content: Any) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _tool_tokens(tool: Mapping[str, Any], model: Model) -> int:
    return _text_tokens(json.dumps(tool), model)


def _block_tokens(block: Mapping[str, Any], model: Model) -> int:
    match block.get("type"):
        case "text":
            return _text_tokens(block["text"], model)
        case "image":
            return image_tokens(block["source"], model)
        case "document":
            return _document_tokens(block["source"], model)
        case "tool_result":
            return sum(_block_tokens(part, model) for part in _as_blocks(block.get("content") or []))
        case _:
            return _text_tokens(json.dumps(block), model)


def _document_tokens(source: dict[str, Any], model: Model) -> int:
    match source.get("type"):
        case "text":
            return _text_tokens(str(source.get("data", "")), model)
        case "content":
            return sum(_block_tokens(part, model) for part in _as_blocks(source.get("content") or []))
        case _:
            return document_tokens(source, model)


def _text_tokens(text: str, model: Model) -> int:
    return math.ceil(len(text) / model.characters_per_token)


def _ttl(holder: Mapping[str, Any]) -> str | None:
    control = holder.get("cache_control")
    return None if control is None else str(control.get("ttl", "5m"))
