"""The file of a recording: it can be read up to where it was cut or damaged."""

import io
import zlib

import pytest

from tidegate.core.domain.errors import UnreadableState
from tidegate.stores.pools import Pools
from tidegate.stores.recording.recording_file import Begin, Gap, Part, Recorded, RecordingReader, RecordingWriter, Steps
from tidegate.stores.valkey.log_fold import Appended, LogFold, decode_state_of_log

HEAD = b"tidegate recording 1\n"
PARTS: list[Part] = [
    Begin(decode_state_of_log(LogFold(Pools(), "log").dump())),
    Steps((Recorded(1_000, 0, Appended("r", tick=True)),)),
    Gap("lost"),
]


def written() -> tuple[bytes, list[int]]:
    """A recording, and where each part ends."""
    file = io.BytesIO()
    writer, ends = RecordingWriter(file), []
    for part in PARTS:
        writer.write(part)
        ends.append(writer.written_bytes)
    return file.getvalue(), ends


def test_a_cut_recording_is_read_up_to_the_cut() -> None:
    content, ends = written()
    for length in range(len(HEAD), len(content) + 1):
        reader = RecordingReader(io.BytesIO(content[:length]))
        complete = sum(end <= length for end in ends)
        assert list(reader) == PARTS[:complete]
        begins = ([len(HEAD), *ends])[complete]
        assert reader.damage == (
            None if length == begins else f"the recording is cut at byte {begins}: it is read up to there"
        )


def test_a_damaged_recording_is_read_up_to_the_damage() -> None:
    content, ends = written()
    for place in range(len(HEAD), len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        reader = RecordingReader(io.BytesIO(bytes(damaged)))
        complete = sum(end <= place for end in ends)
        assert list(reader) == PARTS[:complete]
        assert reader.damage is not None
        assert str([len(HEAD), *ends][complete]) in reader.damage


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no recording of Tidegate"),
        (b"PK\3\4 something else", "is no recording of Tidegate"),
        (b"tidegate recording 2\n", "has version 2, and only version 1 can be read"),
    ],
)
def test_another_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableState, match=message):
        RecordingReader(io.BytesIO(content))


def test_a_part_of_another_version_is_refused() -> None:
    other = zlib.compress(b"\x91\xa7Unknown")
    content = HEAD + len(other).to_bytes(4) + zlib.crc32(other).to_bytes(4) + other
    with pytest.raises(UnreadableState, match="another version of Tidegate wrote the recording"):
        list(RecordingReader(io.BytesIO(content)))
