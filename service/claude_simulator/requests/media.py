"""Sizes of images and documents in tokens, from their decoded content.

Sources: Claude Platform Docs, "Images and vision" and "PDF support", as copied in 2026.
"""

import base64
import binascii
import math
import re
import struct
import zlib
from typing import Any, Final

from claude_simulator.requests.models import Model

_PATCH_PIXELS: Final = 28
_PAGE_IMAGE_TOKENS: Final = 1_600
"""A page of a PDF as an image, as measured with scanned pages (a table of October 2026)."""
_ASSUMED_IMAGE_PIXELS: Final = (1_280, 960)
"""Assumed for an image behind a URL or a file id, which is not fetched."""
_ASSUMED_PAGES: Final = 4
_ASSUMED_PAGE_CHARACTERS: Final = 2_000
_MOST_INFLATED_BYTES: Final = 1_000_000
_STREAM: Final = re.compile(rb"<<([^<>]*)>>\s*stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_PDF_TEXT: Final = re.compile(rb"\(((?:[^()\\]|\\.)*)\)\s*Tj")
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-z])")


def image_tokens(source: dict[str, Any], model: Model) -> int:
    """The tokens of an image: its patches of 28 pixels, scaled down to the model's limits if necessary."""
    width, height = _ASSUMED_IMAGE_PIXELS
    if source.get("type") == "base64":
        width, height = _pixels(_decoded(source)) or _ASSUMED_IMAGE_PIXELS
    scale = min(1.0, model.max_image_edge_pixels / max(width, height))
    while (tokens := _patches(width * scale) * _patches(height * scale)) > model.max_image_tokens:
        scale -= 1 / max(width, height)
    return tokens


def document_tokens(source: dict[str, Any], model: Model) -> int:
    """The tokens of a document that is not text: each page as an image, and its text."""
    pages, characters = _ASSUMED_PAGES, _ASSUMED_PAGES * _ASSUMED_PAGE_CHARACTERS
    if source.get("type") == "base64":
        data = _decoded(source)
        pages = max(1, len(_PAGE.findall(data)))
        characters = sum(len(text[1]) for stream in _streams(data) for text in _PDF_TEXT.finditer(stream))
    return pages * _PAGE_IMAGE_TOKENS + math.ceil(characters / model.characters_per_token)


def _patches(pixels: float) -> int:
    return math.ceil(max(1, round(pixels)) / _PATCH_PIXELS)


def _decoded(source: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(source.get("data", "")))
    except binascii.Error:
        return b""


def _streams(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    for dictionary, stream in _STREAM.findall(data):
        if b"/FlateDecode" not in dictionary:
            found.append(stream)
            continue
        try:
            found.append(zlib.decompressobj().decompress(stream, _MOST_INFLATED_BYTES))
        except zlib.error:
            continue
    return found


def _pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height of an image; None if its format is unknown."""
    try:
        if data[1:4] == b"PNG":
            width, height = struct.unpack(">II", data[16:24])
        elif data[:3] == b"GIF":
            width, height = struct.unpack("<HH", data[6:10])
        elif data[8:16] == b"WEBPVP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        elif data[8:16] == b"WEBPVP8L":
            packed = int.from_bytes(data[21:25], "little")
            width, height = 1 + packed % 2**14, 1 + (packed >> 14) % 2**14
        elif data[8:16] == b"WEBPVP8 ":
            width, height = (side % 2**14 for side in struct.unpack("<HH", data[26:30]))
        else:
            width, height = _jpeg_pixels(data)
    except (struct.error, IndexError):
        return None
    return (width, height) if width and height else None


def _jpeg_pixels(data: bytes) -> tuple[int, int]:
    """Width and height by the first frame header. The segments before it are skipped by their length."""
    at = 2
    while data[:2] == b"\xff\xd8" and data[at] == 0xFF:
        if data[at + 1] in range(0xC0, 0xD0) and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0, 0
