"""Cursors of filtered lists. A cursor of the upstream may contain the id of an object that the caller may not see."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

__all__ = ["Cursors", "Position"]

_PREFIX: Final = "page_tg_"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEYED_BYTES: Final = 64
"""BLAKE2b takes a key of at most so many bytes."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The place in a list at which a page begins.

    Attributes:
        name: the query parameter that leads to it: `page` or `after_id`; empty: the beginning of the list.
        value: the value of that parameter.
        limit: the number of objects in the page of the upstream; 0: as the client asks.
        after: an object of that page, behind which the own page begins; empty: it begins where that page does.
        skip: how many objects come before, should `after` be deleted by then.
    """

    name: str = ""
    value: str = ""
    limit: int = 0
    after: str = ""
    skip: int = 0


_DECODE: Final = msgspec.json.Decoder(Position).decode


class Cursors:
    """Makes a text of a position that nobody else can read or make: encrypted, and then authenticated.

    The key stream is SHAKE-256 of the key and a nonce; the tag is a keyed BLAKE2b.

    Args:
        key: returns a secret that all replicas share. A cursor is valid as long as it stays the same.
        nonce: returns so many random bytes.
    """

    def __init__(self, key: Callable[[], bytes], nonce: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._key = key
        self._nonce = nonce

    def seal(self, position: Position) -> str:
        """A cursor for a client."""
        nonce = self._nonce(_NONCE_BYTES)
        hidden = nonce + self._hide(nonce, msgspec.json.encode(position))
        return _PREFIX + base64.urlsafe_b64encode(hidden + self._tag(hidden)).decode().rstrip("=")

    def open(self, cursor: str) -> Position | None:
        """The position; None if the text was not made by `seal` with this key."""
        if not cursor.startswith(_PREFIX) or not cursor.isascii():
            return None
        text = cursor.removeprefix(_PREFIX)
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        hidden, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        if len(hidden) < _NONCE_BYTES or not hmac.compare_digest(tag, self._tag(hidden)):
            return None
        return _DECODE(self._hide(hidden[:_NONCE_BYTES], hidden[_NONCE_BYTES:]))

    def _hide(self, nonce: bytes, text: bytes) -> bytes:
        """Encrypts or decrypts."""
        stream = hashlib.shake_256(b"tidegate cursor\0" + self._secret() + nonce).digest(len(text))
        return bytes(one ^ other for one, other in zip(text, stream, strict=True))

    def _tag(self, hidden: bytes) -> bytes:
        return hashlib.blake2b(hidden, digest_size=_TAG_BYTES, key=self._secret()).digest()

    def _secret(self) -> bytes:
        return hashlib.blake2b(self._key(), digest_size=_KEYED_BYTES, person=b"tidegate cursors").digest()
