"""The encoding of dumped states: a CRC-32 and MessagePack."""

import zlib
from typing import Final, TypeVar

import msgspec

from tidegate.core.domain.errors import UnreadableState

__all__ = ["decode_state", "encode_state"]

State = TypeVar("State", bound=msgspec.Struct)

_CHECKSUM_BYTES: Final = 4


class _Versioned(msgspec.Struct, array_like=True):
    """The first bytes of every version of every state."""

    version: int


def encode_state(state: msgspec.Struct) -> bytes:
    """The state as bytes. Its first field must be its version."""
    content = msgspec.msgpack.encode(state)
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES) + content


def decode_state(data: bytes, kind: type[State], version: int) -> State:
    """The state of this kind and version that `encode_state` has encoded.

    Raises:
        UnreadableState: the data is damaged, or another version wrote it.
    """
    content = data[_CHECKSUM_BYTES:]
    if zlib.crc32(content).to_bytes(_CHECKSUM_BYTES) != data[:_CHECKSUM_BYTES]:
        raise UnreadableState(f"the state is damaged: the checksum of its {len(data)} bytes is wrong")
    try:
        found = msgspec.msgpack.decode(content, type=_Versioned).version
        if found != version:
            raise UnreadableState(f"the state has version {found}, and only version {version} can be read")
        return msgspec.msgpack.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableState(f"the state is not as version {version} writes it: {error}") from error
