"""Finds the images and documents in a prompt, and their sizes for the price."""

import asyncio
import binascii
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Raw, Struct
from msgspec.json import Decoder

from tidegate.core.pricing.prompt_size import PromptSize, image_size
from tidegate.gateway.receive.media_size import image_pixels, pdf_pages
from tidegate.gateway.receive.message_body import ABSENT, Block, part

__all__ = ["MediaItem", "media_in", "size_of"]

_QUOTE, _OPEN, _OPEN_ARRAY = b'"{['
_MAX_MEDIA: Final = 1_000
"""The upstream accepts 600 images. Further ones count as text."""
_MAX_DEPTH: Final = 8
_STEPS_PER_SLICE: Final = 500
"""Less than a millisecond."""
_HEAD_CHARACTERS: Final = 1_024
_LONG_HEAD_CHARACTERS: Final = 256 * 1024
"""Color profiles and previews precede the size of a JPEG; the page count of a PDF may be anywhere."""
_PAGE_BYTES: Final = 60_000
"""Assumed size of a page, if a PDF does not show its page count."""
_MAX_PAGES: Final = 600
"""Limit for all PDFs of a call (Claude Platform Docs, "PDF support", read in 2026)."""


class MediaItem(NamedTuple):
    """An image or a document.

    Attributes:
        encoded_bytes: its bytes in the body, which are not text.
        pixels: width and height of an image; None if unknown.
        pages: the pages of a document; 0 if unknown.
        is_document: whether it is a document.
    """

    encoded_bytes: int = 0
    pixels: tuple[int, int] | None = None
    pages: int = 0
    is_document: bool = False

    def size(self, model: str) -> PromptSize:
        """The size of the item as part of a prompt."""
        if self.is_document:
            return PromptSize(pages=self.pages, documents=not self.pages)
        if self.pixels is None:
            return PromptSize(unsized_images=1)
        return image_size(model, *self.pixels)


class _Encoded:
    """Base64 text. Only its ends are decoded."""

    def __init__(self, text: memoryview) -> None:
        self._text = text

    def item(self) -> MediaItem:
        """The encoded item; an image of unknown size if its type is unknown."""
        head = self._head(_HEAD_CHARACTERS)
        if head.startswith(b"%PDF-"):
            pages = pdf_pages(self._head(_LONG_HEAD_CHARACTERS), self._tail(_LONG_HEAD_CHARACTERS))
            if pages is None:
                pages = len(self._text) * 3 // 4 // _PAGE_BYTES + 1
            return MediaItem(len(self._text), pages=min(max(1, pages), _MAX_PAGES), is_document=True)
        pixels = image_pixels(head)
        if pixels is None and head.startswith(b"\xff\xd8"):
            pixels = image_pixels(self._head(_LONG_HEAD_CHARACTERS))
        return MediaItem(len(self._text), pixels)

    def _head(self, characters: int) -> bytes:
        text = _unescaped(bytes(self._text[:characters]))
        return _decoded(text[: len(text) // 4 * 4])

    def _tail(self, characters: int) -> bytes:
        """The decoded end. The length of base64 text is a multiple of four, so it can be read from there."""
        text = _unescaped(bytes(self._text[-characters:]))
        return _decoded(text[len(text) % 4 :])


class _Source(Struct, gc=False):
    """The source of an image or a document."""

    type: str | None = None
    data: Raw = ABSENT
    content: Raw = ABSENT


_SOURCE: Final = Decoder(_Source).decode
_BLOCKS: Final = Decoder(list[Block]).decode


async def media_in(blocks: Iterable[Block]) -> dict[int, list[MediaItem]]:
    """The items in these blocks and in the blocks inside them, by the `id` of the outer block."""
    found: dict[int, list[MediaItem]] = {}
    count = steps = 0
    for block in blocks:
        if block.source is ABSENT and not _is_array(block.content):
            continue  # usually the text of a tool result
        for item in _media_of(block):
            steps += 1
            if item is not None:
                found.setdefault(id(block), []).append(item)
                count += 1
                if count == _MAX_MEDIA:
                    return found
            if item is not None or steps % _STEPS_PER_SLICE == 0:
                await asyncio.sleep(0)
    return found


def size_of(model: str, part_bytes: int, media: Iterable[MediaItem]) -> PromptSize:
    """The size of a body, or a part of it, with these items in it."""
    text_bytes, size = part_bytes, PromptSize()
    for item in media:
        text_bytes -= item.encoded_bytes
        size = size.plus(item.size(model))
    return size._replace(text_bytes=text_bytes)


def _media_of(block: Block, depth: int = 0) -> Iterator[MediaItem | None]:
    """The items in a block. None stands for another block that was searched, which also takes time."""
    yield None
    yield from _media_inside(block.content, depth + 1)
    if block.source is ABSENT or memoryview(block.source)[0] != _OPEN:
        return
    source = part(_SOURCE, block.source)
    if source is None:
        return
    yield from _media_inside(source.content, depth + 1)
    if source.type == "base64" and source.data is not ABSENT:
        encoded = memoryview(source.data)
        if encoded[0] == _QUOTE:
            yield _Encoded(encoded[1:-1]).item()
    elif source.type in ("url", "file") and block.type in ("image", "document"):
        yield MediaItem(is_document=block.type == "document")


def _media_inside(content: Raw, depth: int) -> Iterator[MediaItem | None]:
    if depth < _MAX_DEPTH and _is_array(content):
        for block in part(_BLOCKS, content) or ():
            if block.source is not ABSENT or block.content is not ABSENT:
                yield from _media_of(block, depth)


def _is_array(raw: Raw) -> bool:
    return raw is not ABSENT and memoryview(raw)[0] == _OPEN_ARRAY


def _unescaped(text: bytes) -> bytes:
    """Undoes the escaped slashes of some JSON encoders."""
    return text.replace(b"\\/", b"/") if b"\\" in text else text


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return b""
