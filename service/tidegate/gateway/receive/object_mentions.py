"""Finds out whether a Messages call may name or create objects, such as files, without a search of all its text."""

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from tidegate.gateway.receive.message_body import ABSENT, Block, MessageBody

__all__ = ["may_create_objects", "may_name_objects"]

_BLOCK: Final = Decoder(Block).decode
_BLOCKS: Final = Decoder(list[Block]).decode
_LONG_BYTES: Final = 256 * 1024
"""A part of this size takes a tenth of a millisecond to decode. After each such part other tasks run."""
_CODE: Final = "code_execution"
_DEEPEST: Final = 8
"""A file is at most three levels below a block of a message. Each level is decoded again together with all below it, so
deeper ones are left to the check of the whole body, which decodes it once."""


async def may_name_objects(fields: MessageBody, special: Sequence[Block]) -> bool:
    """Whether a body names a container, skills or files. True as well, if its parts cannot be decoded.

    Args:
        fields: the body.
        special: its `special_blocks`.
    """
    return fields.messages is None or fields.container is not ABSENT or await _name_files(special)


def may_create_objects(fields: MessageBody) -> bool:
    """Whether the response to a body may name new objects: it uses code execution, or a container."""
    tools = fields.tools or ()
    return fields.container is not ABSENT or any((tool.type or "").startswith(_CODE) for tool in tools)


async def _name_files(blocks: Sequence[Block], level: int = 1) -> bool:
    for block in blocks:
        if block.file_id is not ABSENT:
            return True
        for raw in (block.source, block.content):
            inner = _inner(raw)
            if inner is None or (inner and (level == _DEEPEST or await _name_files(inner, level + 1))):
                return True
            if len(memoryview(raw)) > _LONG_BYTES:
                await asyncio.sleep(0)
    return False


def _inner(raw: Raw) -> Sequence[Block] | None:
    """The blocks in a source or a content; none in a string; None if they cannot be decoded."""
    start = bytes(memoryview(raw)[:1])
    try:
        return _BLOCKS(raw) if start == b"[" else [_BLOCK(raw)] if start == b"{" else ()
    except (DecodeError, UnicodeDecodeError):
        return None
