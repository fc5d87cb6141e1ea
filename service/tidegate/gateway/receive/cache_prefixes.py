"""Finds the prefixes of a prompt that may be in the upstream's cache."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from tidegate.core.pricing.message_shape import Prefix
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.gateway.receive.media import MediaItem
from tidegate.gateway.receive.message_body import ABSENT, Block, MessageBody

__all__ = ["prefixes_of"]

_MARKER: Final = b'"cache_control"'
_AFTER_NAME: Final = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+")
_COMMA: Final = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+")
_LAST: Final = re.compile(rb"[ \t\n\r]*+\}")
_SPACE: Final = b" \t\n\r"
_MAX_SPACE_BYTES: Final = 1_000
_MAX_TRIES: Final = 8
"""A prompt has at most four markers (Claude Platform Docs, "Prompt caching", read 2026-11-24)."""
_MAX_BLOCKS: Final = 10_000
"""Further blocks are ignored: a megabyte can contain half a million."""
_BLOCKS_PER_SLICE: Final = 500
_HASHED_BYTES: Final = 256 * 1024
"""After so many bytes or blocks, other tasks run. Hashing them takes less than a millisecond."""
_LONG_BYTES: Final = 1024 * 1024
"""Before a longer text is decoded again, other tasks run."""
_TEXT: Final = Block()


class _Object(Struct, gc=False):
    """Any object. No member is decoded."""


class _Message(Struct, gc=False):
    content: str | list[Raw] | None = None


class _TextMessage(Struct, gc=False):
    content: Raw = ABSENT


class _Body(Struct, gc=False):
    """The blocks of a body, as slices of its text."""

    tools: list[Raw] | None = None
    system: Raw = ABSENT
    messages: list[_Message] | None = None


class _TextBody(Struct, gc=False):
    """The contents of messages that are strings, as slices of the text."""

    messages: list[_TextMessage] | None = None


_BODY: Final = Decoder(_Body).decode
_TEXT_BODY: Final = Decoder(_TextBody).decode
_OBJECT: Final = Decoder(_Object).decode
_BLOCKS: Final = Decoder(list[Raw]).decode


async def prefixes_of(
    model: str, text: bytes, body: MessageBody, media: Mapping[int, list[MediaItem]], tool_prompt_tokens: int
) -> tuple[Prefix, ...]:
    """The prefixes of a prompt that end with each of its blocks, up to the last block with a `cache_control` marker.

    A marker at the top level of the body counts for the last block. Prefixes without a marker are included, because
    the upstream also looks for shorter prefixes that an earlier request has marked. Markers do not change a prefix.

    Args:
        model: the model, which has a cache of its own.
        text: the text of the body.
        body: the decoded body.
        media: the images and documents in its messages, by the `id` of the block.
        tool_prompt_tokens: the tokens that the API adds for tools, in front of the prompt.
    """
    digest, text_bytes, other_size = hash(model), 0, PromptSize(fixed_tokens=tool_prompt_tokens)
    prefixes: list[Prefix] = []
    longest = number = 0
    if len(text) > _LONG_BYTES:
        await asyncio.sleep(0)
    for block, raw in _blocks(text, body):
        is_marked = block.cache_control is not ABSENT
        piece = _unmarked(raw, block.cache_control) if is_marked else bytes(raw)
        if len(piece) <= _HASHED_BYTES:
            digest = hash((digest, bytes(piece)))
        else:
            for start in range(0, len(piece), _HASHED_BYTES):
                digest = hash((digest, bytes(piece[start : start + _HASHED_BYTES])))
                await asyncio.sleep(0)
        text_bytes += len(piece)
        for item in media.get(id(block), ()) if media else ():
            text_bytes -= item.encoded_bytes
            other_size = other_size.plus(item.size(model))
        prefixes.append(Prefix(digest, text_bytes, other_size, is_marked))
        number += 1
        if is_marked:
            longest = number
        if number % _BLOCKS_PER_SLICE == 0:
            await asyncio.sleep(0)
    if body.cache_control is not ABSENT and prefixes:
        prefixes[-1] = prefixes[-1]._replace(marked=True)
        longest = number
    return tuple(prefixes[:longest])


def _blocks(text: bytes, body: MessageBody) -> Iterable[tuple[Block, Raw]]:
    """The blocks of a prompt in the upstream's order, each with its slice of the text."""
    found = _BODY(text)
    blocks, raws = list(body.tools or ()), found.tools or []
    if isinstance(body.system, list):
        blocks += body.system
        raws += _BLOCKS(found.system)
    elif body.system is not None:
        blocks.append(_TEXT)
        raws.append(found.system)
    texts: list[_TextMessage] = []
    for number, (message, seen) in enumerate(zip(body.messages or (), found.messages or (), strict=True)):
        if isinstance(seen.content, list) and isinstance(message.content, list):
            raws += seen.content
            blocks += message.content
        elif seen.content is not None:
            texts = texts or _TEXT_BODY(text).messages or []
            raws.append(texts[number].content)
            blocks.append(_TEXT)
        if len(raws) >= _MAX_BLOCKS:
            break
    return islice(zip(blocks, raws, strict=True), _MAX_BLOCKS)


def _unmarked(block: Raw, marker: Raw) -> bytearray:
    """A block without its marker and the comma that belongs to it; unchanged if the marker is not found.

    Blocks inside the block may have markers, too. Only other members of the block follow the marker of the block.
    """
    piece, value = bytearray(block), bytes(marker)
    start = len(piece)
    for _ in range(_MAX_TRIES):
        start = piece.rfind(_MARKER, 0, start)
        if start < 0:
            break
        found = _AFTER_NAME.match(piece, start + len(_MARKER))
        if found is None or not piece.startswith(value, found.end()):
            continue
        end = found.end() + len(value)
        comma = _COMMA.match(piece, end)
        if comma is not None:
            with suppress(DecodeError):
                _OBJECT(b"{" + piece[comma.end() :])
                del piece[start : comma.end()]
                break
        elif _LAST.fullmatch(piece, end):
            near = max(0, start - _MAX_SPACE_BYTES)
            before = piece[near:start].rstrip(_SPACE)
            if before.endswith(b","):
                start = near + len(before[:-1].rstrip(_SPACE))
            del piece[start:end]
            break
    return piece
