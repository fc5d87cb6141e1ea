"""Which beginnings of a prompt may be in the upstream's cache."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from tidegate.core.pricing.cost_estimator import Prefix
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
"""A prompt has four marks at most (Claude Platform Docs, "Prompt caching", read 2026-11-24)."""
_MAX_BLOCKS: Final = 10_000
"""Blocks of a longer prompt are not looked at beyond these: a megabyte can hold half a million of them."""
_BLOCKS_PER_SLICE: Final = 500
_HASHED_BYTES: Final = 256 * 1024
"""At most so much is hashed, and so many blocks are looked at, before others have a turn: less than a millisecond."""
_LONG_BYTES: Final = 1024 * 1024
"""Others have a turn before what is longer is gone through again."""
_TEXT: Final = Block()


class _Object(Struct, gc=False):
    """Any object: nothing of it is wanted."""


class _Message(Struct, gc=False):
    content: str | list[Raw] | None = None


class _TextMessage(Struct, gc=False):
    content: Raw = ABSENT


class _Body(Struct, gc=False):
    """Where the blocks of a body are."""

    tools: list[Raw] | None = None
    system: Raw = ABSENT
    messages: list[_Message] | None = None


class _TextBody(Struct, gc=False):
    """Where the texts of messages are that are no lists of blocks."""

    messages: list[_TextMessage] | None = None


_BODY: Final = Decoder(_Body).decode
_TEXT_BODY: Final = Decoder(_TextBody).decode
_OBJECT: Final = Decoder(_Object).decode
_BLOCKS: Final = Decoder(list[Raw]).decode


async def prefixes_of(
    model: str, text: bytes, body: MessageBody, media: Mapping[int, list[MediaItem]], tool_prompt_tokens: int
) -> tuple[Prefix, ...]:
    """The beginnings of a body at each of its blocks, up to the last one that is marked by `cache_control`.

    A marker at the top of the body stands for the last block. Earlier blocks count too: the upstream looks back for a
    shorter beginning that an earlier request has marked. Where the prompt is marked changes no beginning.

    Args:
        model: whose cache it is.
        text: of the body.
        body: what was read of it.
        media: in its messages, by the `id` of the block.
        tool_prompt_tokens: what tools bring along, in front of all.
    """
    digest, text_bytes, beside = hash(model), 0, PromptSize(fixed_tokens=tool_prompt_tokens)
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
        for medium in media.get(id(block), ()) if media else ():
            text_bytes -= medium.encoded_bytes
            beside = beside.plus(medium.size(model))
        prefixes.append(Prefix(digest, text_bytes, beside, is_marked))
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
    """The blocks of a prompt in the order in which the upstream puts them, and what they are in the text."""
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
    """A block without the marker that it has, and the comma that belongs to it; as it is, if they cannot be told apart.

    There may be others inside of the block: behind the one at its top are nothing but other members of it.
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
