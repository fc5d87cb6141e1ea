"""Images and documents in a prompt: where they are in the body, and what they count as instead of text."""

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
"""The upstream takes 600 images; what is beyond counts as text."""
_MAX_DEPTH: Final = 8
_STEPS_PER_SLICE: Final = 500
"""Less than a millisecond."""
_HEAD_CHARACTERS: Final = 1_024
_LONG_HEAD_CHARACTERS: Final = 256 * 1024
"""Colour profiles and previews are in front of the size of a JPEG; the pages of a PDF may be described anywhere."""
_PAGE_BYTES: Final = 60_000
"""Of a PDF that does not say how many pages it has."""
_MAX_PAGES: Final = 600
"""Of all PDFs in a call (Claude Platform Docs, "PDF support", as copied in 2026)."""


class MediaItem(NamedTuple):
    """An image or a document. `encoded_bytes`: how much of the body is it and no text; `pages` 0: it is an image."""

    encoded_bytes: int = 0
    pixels: tuple[int, int] | None = None
    pages: int = 0
    is_document: bool = False

    def size(self, model: str) -> PromptSize:
        """What it counts as."""
        if self.is_document:
            return PromptSize(pages=self.pages, documents=not self.pages)
        if self.pixels is None:
            return PromptSize(unsized_images=1)
        return image_size(model, *self.pixels)


class _Encoded:
    """Base64 text of which only the ends are decoded."""

    def __init__(self, text: memoryview) -> None:
        self._text = text

    def medium(self) -> MediaItem:
        """What is encoded; an image of unknown size if it is nothing known."""
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
        """Base64 text is a multiple of four characters long, so that it can be read from its end."""
        text = _unescaped(bytes(self._text[-characters:]))
        return _decoded(text[len(text) % 4 :])


class _Source(Struct, gc=False):
    """Where a medium comes from."""

    type: str | None = None
    data: Raw = ABSENT
    content: Raw = ABSENT


_SOURCE: Final = Decoder(_Source).decode
_BLOCKS: Final = Decoder(list[Block]).decode


async def media_in(blocks: Iterable[Block]) -> dict[int, list[MediaItem]]:
    """The media in these blocks, and in what they contain, by the `id` of the block."""
    found: dict[int, list[MediaItem]] = {}
    count = steps = 0
    for block in blocks:
        if block.source is ABSENT and not _is_array(block.content):
            continue  # the result of a tool, mostly: text
        for medium in _media_of(block):
            steps += 1
            if medium is not None:
                found.setdefault(id(block), []).append(medium)
                count += 1
                if count == _MAX_MEDIA:
                    return found
            if medium is not None or steps % _STEPS_PER_SLICE == 0:
                await asyncio.sleep(0)
    return found


def size_of(model: str, part_bytes: int, media: Iterable[MediaItem]) -> PromptSize:
    """The size of a body, or a part of it, that has these media in it."""
    text_bytes, size = part_bytes, PromptSize()
    for medium in media:
        text_bytes -= medium.encoded_bytes
        size = size.plus(medium.size(model))
    return size._replace(text_bytes=text_bytes)


def _media_of(block: Block, depth: int = 0) -> Iterator[MediaItem | None]:
    """None: something else was looked at, which takes its time too."""
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
            yield _Encoded(encoded[1:-1]).medium()
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
    """Some encoders of JSON escape slashes."""
    return text.replace(b"\\/", b"/") if b"\\" in text else text


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return b""
