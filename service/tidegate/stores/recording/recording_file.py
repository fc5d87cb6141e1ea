"""The file format of a recording: parts that are compressed and checked one by one.

A file is a line that names the format, and then parts: the length and the CRC-32 of the content in four bytes each, and
the content, MessagePack compressed by zlib. A file that was cut or damaged can be read up to that place.
"""

import zlib
from collections.abc import Iterator
from typing import IO, Final

import msgspec
from msgspec import Struct

from tidegate.core.domain.errors import UnreadableState
from tidegate.stores.valkey.log_fold import Appended, LogState

__all__ = ["Begin", "Gap", "Part", "Recorded", "RecordingReader", "RecordingWriter", "Steps"]

_NAME: Final = b"tidegate recording "
_VERSION: Final = 1
_HEAD: Final = _NAME + f"{_VERSION}\n".encode()
_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 1_000_000_000
"""No part is longer. A larger length is damage."""


class Recorded(Struct, frozen=True, array_like=True):
    """An entry of the log: its id, and its content."""

    unix_ms: int
    number: int
    appended: Appended


class Begin(Struct, frozen=True, array_like=True, tag=True):
    """The state of the log before the entries that follow."""

    state: LogState


class Steps(Struct, frozen=True, array_like=True, tag=True):
    """The next entries."""

    entries: tuple[Recorded, ...]


class Gap(Struct, frozen=True, array_like=True, tag=True):
    """Entries are missing here. `reason`: why, in words."""

    reason: str


Part = Begin | Steps | Gap
"""A part of a recording."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Part]] = msgspec.msgpack.Decoder(Part)


class RecordingWriter:
    """Writes a recording. Each part is complete on the disk or not at all, as far as a reader sees.

    Args:
        file: open for writing, and empty.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.write(_HEAD)
        self.written_bytes = len(_HEAD)

    def write(self, part: Part) -> None:
        """Appends a part."""
        content = zlib.compress(_ENCODER.encode(part))
        for each in (_number(len(content)), _number(zlib.crc32(content)), content):
            self._file.write(each)
        self._file.flush()
        self.written_bytes += 2 * _LENGTH_BYTES + len(content)


class RecordingReader:
    """Reads the parts of a recording, up to where it was cut or damaged.

    Args:
        file: open for reading.

    Attributes:
        damage: what is wrong with the rest of the file, after all parts were read; None: nothing.

    Raises:
        UnreadableState: it is no recording, or another version has written it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.damage: str | None = None
        head = file.read(len(_HEAD))
        if not head.startswith(_NAME):
            raise UnreadableState("the file is no recording of Tidegate")
        if head != _HEAD:
            found = head.removeprefix(_NAME).decode(errors="replace").strip()
            raise UnreadableState(f"the recording has version {found}, and only version {_VERSION} can be read")

    def __iter__(self) -> Iterator[Part]:
        """The parts in order."""
        place = len(_HEAD)
        while head := self._file.read(2 * _LENGTH_BYTES):
            length, checksum = _value(head[:_LENGTH_BYTES]), head[_LENGTH_BYTES:]
            content = self._file.read(length) if length <= _MOST_BYTES else b""
            if len(content) < length or len(checksum) < _LENGTH_BYTES:
                self.damage = f"the recording is cut at byte {place:,}: it is read up to there"
                return
            if _number(zlib.crc32(content)) != checksum:
                self.damage = f"the recording is damaged at byte {place:,}: it is read up to there"
                return
            try:
                yield _DECODER.decode(zlib.decompress(content))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UnreadableState(f"another version of Tidegate wrote the recording: {error}") from error
            place += len(head) + length


def _number(value: int) -> bytes:
    return value.to_bytes(_LENGTH_BYTES)


def _value(encoded: bytes) -> int:
    return int.from_bytes(encoded)
