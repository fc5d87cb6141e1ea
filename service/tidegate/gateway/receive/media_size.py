"""Reads the size of an image and the page count of a PDF from a few of their bytes."""

import re
import struct
from typing import Final

__all__ = ["image_pixels", "pdf_pages"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN: Final = 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers followed by the size of the image (ITU-T T.81, table B.1)."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length."""
_PDF_TOKEN: Final = re.compile(rb"<<|>>|/Type\s{0,4}/Pages\b|/Type\s{0,4}/Page\b|/Count\s{1,4}(\d{1,6})\b")
_LINEARIZED: Final = re.compile(rb"/Linearized\b[^>]{0,200}?/N\s{1,4}(\d{1,6})\b")


def image_pixels(head: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, WebP or JPEG image with these first bytes; None if they do not show it.

    30 bytes are enough, except for JPEG, where color profiles come first.
    """
    try:
        width, height = _pixels(head)
    except (struct.error, IndexError):
        return None
    return (width, height) if width and height else None


def pdf_pages(head: bytes, tail: bytes) -> int | None:
    """The page count of a PDF by its first and last bytes, which may overlap; None if they do not show it.

    Most PDFs have the root of their page tree near one end. If it is compressed, the pages cannot be counted.
    """
    linearized = _LINEARIZED.search(head, 0, 2_048)
    if linearized:
        return int(linearized[1])
    counted = max((_pages_in(part) for part in (head, tail)), default=0)
    return counted or None


def _pixels(head: bytes) -> tuple[int, int]:
    if head.startswith(_PNG):
        return struct.unpack_from(">II", head, 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return struct.unpack_from("<HH", head, 6)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_pixels(head)
    return _jpeg_pixels(head) if head.startswith(b"\xff\xd8") else (0, 0)


def _webp_pixels(head: bytes) -> tuple[int, int]:
    """The size depends on the kind of the first chunk (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[start : start + 3], "little") for start in (24, 27))
        return (width + 1, height + 1) if len(head) >= 30 else (0, 0)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_pixels(head: bytes) -> tuple[int, int]:
    position = 2
    while head[position] == 0xFF:
        marker = head[position + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", head, position + 5)
            return width, height
        if marker == _START_OF_SCAN:
            break
        if marker == 0xFF:  # padding
            position += 1
        elif marker in _ALONE:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", head, position + 2)[0]
    return 0, 0


def _pages_in(part: bytes) -> int:
    """The count at the root of the page tree, which is the largest; or the number of pages found, if that is larger."""
    counts = [0]
    seen = 0
    open_dictionaries: list[tuple[bool, int]] = []
    is_pages, count = False, 0
    for token in _PDF_TOKEN.finditer(part):
        text = token[0]
        if text == b"<<":
            open_dictionaries.append((is_pages, count))
            is_pages, count = False, 0
        elif text == b">>":
            if is_pages:
                counts.append(count)
            is_pages, count = open_dictionaries.pop() if open_dictionaries else (False, 0)
        elif token[1] is not None:
            count = int(token[1])
        elif text.endswith(b"s"):
            is_pages = True
        else:
            seen += 1
    return max(*counts, seen)
