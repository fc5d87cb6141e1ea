"""Repairs response heads that the parser refuses although their meaning is certain."""

import re
from typing import Final

__all__ = ["is_repairable", "repaired_head"]

_HEAD_END: Final = b"\r\n\r\n"
_FOLD: Final = re.compile(rb"[ \t]*\r\n[ \t]+")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_LENGTH: Final = b"content-length"
_REPAIRABLE: Final = frozenset(
    {"Duplicate Content-Length", "Invalid character in Content-Length", "Unexpected whitespace after header value"}
)
"""llhttp's messages for such heads."""


def is_repairable(error: BaseException) -> bool:
    """Whether an error of the parser may be due to a head that can be repaired."""
    return str(error) in _REPAIRABLE


def repaired_head(received: bytes) -> bytes | None:
    """The bytes of a response with its head repaired; None while the head is not complete.

    A field value over several lines is put on one line (RFC 9112 section 5.2). A repeated, equal content length is kept
    once (RFC 9110 section 8.6). Everything else stays unchanged, informational heads included.

    Raises:
        ValueError: a line of the head does not end with CR LF.
    """
    heads: list[bytes] = []
    rest = received
    while True:
        head, end, rest = rest.partition(_HEAD_END)
        if not end:
            if _BARE_LF.search(head):  # the end of the head might never be found
                raise ValueError("not HTTP/1.1: a line end without CR")
            return None
        heads.append(_repaired_head(head))
        if not _is_informational(head):
            return _HEAD_END.join([*heads, rest])


def _is_informational(head: bytes) -> bool:
    status = head.partition(b" ")[2][:3]
    return status[:1] == b"1" and status != b"101"  # after a 101, another protocol follows


def _repaired_head(head: bytes) -> bytes:
    status_line, separator, fields = head.partition(b"\r\n")
    lines = _FOLD.sub(b" ", fields).split(b"\r\n")
    lengths = [line for line in lines if _is_length(line)]
    values = {value.strip() for line in lengths for value in line.partition(b":")[2].split(b",")}
    if len(values) == 1 and (value := values.pop()).isdigit():
        first = lines.index(lengths[0])
        lines[first] = b"%b: %b" % (_LENGTH, value)
        lines = [line for number, line in enumerate(lines) if number == first or not _is_length(line)]
    return status_line + separator + b"\r\n".join(lines)


def _is_length(line: bytes) -> bool:
    return line.partition(b":")[0].lower() == _LENGTH
