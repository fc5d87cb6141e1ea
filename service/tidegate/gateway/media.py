"""Images and documents in a prompt: where they are in the body, and what they count as instead of text."""

import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from tidegate.core.prompt_size import PromptSize, image_size
from tidegate.gateway.json_scan import Reader, Scanner, Span, Steps
from tidegate.gateway.media_head import image_pixels, pdf_pages

__all__ = ["MEDIA_MARK", "Encoded", "MediaReader", "Medium", "media_in", "size_of"]

MEDIA_MARK: Final = b'"source"'
"""Where this is nowhere in a body, it holds text alone."""
_MOST_MEDIA: Final = 1_000
"""The upstream takes 600 images; what is beyond counts as text."""
_MOST_DEPTH: Final = 8
_HEAD_CHARACTERS: Final = 1_024
_LONG_HEAD_CHARACTERS: Final = 256 * 1024
"""Colour profiles and previews are in front of the size of a JPEG; the pages of a PDF may be described anywhere."""
_PAGE_BYTES: Final = 60_000
"""Of a PDF that does not say how many pages it has."""
_MOST_PAGES: Final = 600
"""Of all PDFs in a call (Claude Platform Docs, "PDF support", as copied in 2026)."""


class Medium(NamedTuple):
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


class Encoded:
    """Base64 text of which only the ends are decoded. `part` gives the characters between two positions."""

    def __init__(self, characters: int, part: Callable[[int, int], bytes]) -> None:
        self._characters = characters
        self._part = part

    def medium(self) -> Medium:
        """What is encoded; an image of unknown size if it is nothing known."""
        head = self._head(_HEAD_CHARACTERS)
        if head.startswith(b"%PDF-"):
            pages = pdf_pages(self._head(_LONG_HEAD_CHARACTERS), self._tail(_LONG_HEAD_CHARACTERS))
            if pages is None:
                pages = self._characters * 3 // 4 // _PAGE_BYTES + 1
            return Medium(self._characters, pages=min(max(1, pages), _MOST_PAGES), is_document=True)
        pixels = image_pixels(head)
        if pixels is None and head.startswith(b"\xff\xd8"):
            pixels = image_pixels(self._head(_LONG_HEAD_CHARACTERS))
        return Medium(self._characters, pixels)

    def _head(self, characters: int) -> bytes:
        text = _unescaped(self._part(0, min(characters, self._characters)))
        return _decoded(text[: len(text) // 4 * 4])

    def _tail(self, characters: int) -> bytes:
        """Base64 text is a multiple of four characters long, so that it can be read from its end."""
        text = _unescaped(self._part(max(0, self._characters - characters), self._characters))
        return _decoded(text[len(text) % 4 :])


class MediaReader:
    """Notes the media of blocks, while a scanner passes over them.

    Attributes:
        found: the media so far, in the order in which they came.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._depth = 0
        self.found: list[Medium] = []

    def block(self, position: int) -> Steps:
        """Reads a block, and what it contains."""
        scanner, text = self._scanner, self._scanner.text
        if text[position : position + 1] != b"{" or self._depth >= _MOST_DEPTH:
            return (yield from scanner.value(position))
        self._depth += 1
        found: dict[bytes, Span] = {}
        source: dict[bytes, Span] = {}
        readers = {b"source": self._source(source), b"content": self._content}
        end = yield from scanner.members(position, readers, (b"type",), found)
        self._depth -= 1
        if source and len(self.found) < _MOST_MEDIA:
            kind, source_kind = (text[slice(*fields.get(b"type", (0, 0)))] for fields in (found, source))
            medium = _medium(kind[1:-1], source_kind[1:-1], self._encoded(source.get(b"data")))
            if medium is not None:
                self.found.append(medium)
                yield
        return end

    def _source(self, found: dict[bytes, Span]) -> Reader:
        def read(position: int) -> Steps:
            if self._scanner.text[position : position + 1] != b"{":
                return (yield from self._scanner.value(position))
            readers = {b"content": self._content}
            return (yield from self._scanner.members(position, readers, (b"type", b"data"), found))

        return read

    def _content(self, position: int) -> Steps:
        if self._scanner.text[position : position + 1] == b"[":
            return (yield from self._scanner.elements(position, self.block))
        return (yield from self._scanner.value(position))

    def _encoded(self, data: Span | None) -> Encoded | None:
        if data is None or self._scanner.text[data.start : data.start + 1] != b'"':
            return None
        start, text = data.start + 1, self._scanner.text
        return Encoded(data.end - 1 - start, lambda first, last: text[start + first : start + last])


def media_in(messages: object) -> list[Medium]:
    """The media in the messages of a body that has been parsed."""
    if not isinstance(messages, list):
        return []
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    blocks = [content for content in contents if isinstance(content, list)]
    return list(islice(chain.from_iterable(map(_media_in, blocks)), _MOST_MEDIA)) if blocks else []


def size_of(model: str, part_bytes: int, media: Iterable[Medium]) -> PromptSize:
    """The size of a body, or a part of it, that has these media in it."""
    text_bytes, size = part_bytes, PromptSize()
    for medium in media:
        text_bytes -= medium.encoded_bytes
        size = size.plus(medium.size(model))
    return size._replace(text_bytes=text_bytes)


def _media_in(content: object, depth: int = 0) -> Iterator[Medium]:
    if not isinstance(content, list) or depth >= _MOST_DEPTH:
        return
    for block in content:
        if not isinstance(block, dict):
            continue
        yield from _media_in(block.get("content"), depth + 1)
        source = block.get("source")
        if isinstance(source, dict):
            yield from _media_in(source.get("content"), depth + 1)
            medium = _medium(_name(block), _name(source), _encoded_text(source.get("data")))
            if medium is not None:
                yield medium


def _medium(kind: bytes, source_kind: bytes, encoded: Encoded | None) -> Medium | None:
    """What a block of this type is, with a source of that type; None: text."""
    if source_kind == b"base64" and encoded is not None:
        return encoded.medium()
    if source_kind in (b"url", b"file") and kind in (b"image", b"document"):
        return Medium(is_document=kind == b"document")
    return None


def _name(fields: Mapping[str, Any]) -> bytes:
    name = fields.get("type")
    return name.encode(errors="replace") if isinstance(name, str) else b""


def _encoded_text(data: object) -> Encoded | None:
    if not isinstance(data, str):
        return None
    return Encoded(len(data), lambda first, last: data[first:last].encode("ascii", "replace"))


def _unescaped(text: bytes) -> bytes:
    """Some encoders of JSON escape slashes."""
    return text.replace(b"\\/", b"/") if b"\\" in text else text


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return b""
