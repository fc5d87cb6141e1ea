"""Which beginnings of a prompt may be in the upstream's cache."""

import hashlib
from collections.abc import Generator
from functools import partial
from typing import Final, NamedTuple

from tidegate.core.price import Prefix
from tidegate.core.prompt_size import PromptSize
from tidegate.gateway.json_scan import Reader, Scanner, Span, Steps
from tidegate.gateway.media import MediaReader, Medium, size_of

__all__ = ["PromptBlocks"]

_PARTS: Final = (b"tools", b"system", b"messages")
"""The parts of a prompt in the order in which the upstream puts them (Claude Platform Docs, "Prompt caching", read
2026-11-24)."""
_MARKER: Final = b'"cache_control"'
_MOST_BLOCKS: Final = 10_000
"""Blocks of a longer prompt are not looked at beyond these: a megabyte can hold half a million of them."""
_HASHED_BYTES: Final = 256 * 1024
"""At most so much is hashed before others have a turn: less than a millisecond."""


class _Block(NamedTuple):
    start: int
    end: int
    media: list[Medium]


class PromptBlocks:
    """Notes where the blocks of a prompt are, while a scanner passes over them, and what is in them beside text.

    Without `has_media` nothing else is looked for.
    """

    def __init__(self, scanner: Scanner, *, has_media: bool) -> None:
        self._scanner = scanner
        self._media = MediaReader(scanner)
        self._read_block = self._media.block if has_media else scanner.value
        self._parts: dict[bytes, list[_Block]] = {}
        self._blocks: list[_Block] = []
        self._content = {b"content": self._one_or_more}

    def readers(self) -> dict[bytes, Reader]:
        """Readers for the parts of a prompt."""
        return {part: partial(self._part, part) for part in _PARTS}

    @property
    def media(self) -> list[Medium]:
        """Images and documents, in the order in which they came."""
        return self._media.found

    @property
    def has_tools(self) -> bool:
        """Whether there are tools."""
        return bool(self._parts.get(b"tools"))

    def prefixes(
        self, model: str, tool_prompt_tokens: int, *, is_marked: bool
    ) -> Generator[None, None, tuple[Prefix, ...]]:
        """The beginnings of the body at each of its blocks, up to the last one that is marked by `cache_control`.

        A marker at the top of the body (`is_marked`) stands for the last block. Earlier blocks count too: the upstream
        looks back for a shorter beginning that an earlier request has marked. Where the prompt is marked changes no
        beginning. `tool_prompt_tokens` are what tools bring along, in front of all.
        """
        digest, longest = hashlib.sha256(model.encode(errors="surrogatepass")), 0
        size = PromptSize(fixed_tokens=tool_prompt_tokens)
        prefixes: list[Prefix] = []
        for block in [block for part in _PARTS for block in self._parts.get(part, ())]:
            marker = yield from self._marker(block)
            pieces = (
                [Span(block.start, block.end)]
                if marker is None
                else [Span(block.start, marker.start), Span(marker.end, block.end)]
            )
            for piece in pieces:
                for start in range(piece.start, piece.end, _HASHED_BYTES):
                    digest.update(self._scanner.text[start : min(start + _HASHED_BYTES, piece.end)])
                    if start > piece.start:
                        yield
            size = size.plus(size_of(model, sum(piece.end - piece.start for piece in pieces), block.media))
            prefixes.append(Prefix(digest.digest(), size, marker is not None))
            if marker is not None:
                longest = len(prefixes)
            if len(prefixes) % 200 == 0:
                yield
        if is_marked and prefixes:
            prefixes[-1] = prefixes[-1]._replace(marked=True)
            longest = len(prefixes)
        return tuple(prefixes[:longest])

    def _part(self, part: bytes, position: int) -> Steps:
        self._blocks = self._parts[part] = []
        if part == b"messages" and self._scanner.text[position : position + 1] == b"[":
            return (yield from self._scanner.elements(position, self._message))
        return (yield from self._one_or_more(position))

    def _message(self, position: int) -> Steps:
        if self._scanner.text[position : position + 1] == b"{":
            return (yield from self._scanner.members(position, self._content))
        return (yield from self._one_or_more(position))

    def _one_or_more(self, position: int) -> Steps:
        """Reads what may be an array of blocks, or a single one."""
        if self._scanner.text[position : position + 1] == b"[":
            return (yield from self._scanner.elements(position, self._block))
        return (
            (yield from self._block(position))
            if self._scanner.text[position : position + 1] != b"n"
            else (yield from self._scanner.value(position))
        )

    def _block(self, position: int) -> Steps:
        before = len(self._media.found)
        end = yield from self._read_block(position)
        if len(self._blocks) < _MOST_BLOCKS:
            self._blocks.append(_Block(position, end, self._media.found[before:]))
        return end

    def _marker(self, block: _Block) -> Generator[None, None, Span | None]:
        """Where the marker of a block stands, with the comma that belongs to it."""
        scanner, text = self._scanner, self._scanner.text
        if text[block.start : block.start + 1] != b"{":
            return None
        if not (yield from scanner.contains(_MARKER, block.start, block.end)):
            return None
        found: dict[bytes, Span] = {}
        yield from scanner.members(block.start, {}, (_MARKER[1:-1],), found)
        if not found:
            return None
        value = found[_MARKER[1:-1]]
        start = text.rfind(_MARKER, block.start, value.start)
        end = scanner.skip_space(value.end)
        if text[end : end + 1] == b",":
            return Span(start, scanner.skip_space(end + 1))
        before = text[block.start : start].rstrip()
        return Span(block.start + len(before) - 1, value.end) if before.endswith(b",") else Span(start, value.end)
