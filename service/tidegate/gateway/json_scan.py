"""Finds parts of a JSON text without building it: one pass in C-speed strides, in slices that other work fits between.

`json.loads` takes 6 ms per MB in one piece, in a thread too, for it never lets go of the interpreter.
"""

import re
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Final, NamedTuple

__all__ = ["NestedTooDeeplyError", "NotJsonError", "Reader", "Scanner", "Span", "Steps"]

_WINDOW_BYTES: Final = 128 * 1024
"""A stride is no longer than this: about half a millisecond."""
_SEARCHED_BYTES: Final = 1024 * 1024
"""Half a millisecond of searching."""
_STEPS_PER_SLICE: Final = 1_000
"""About a millisecond of single steps."""
_MOST_DEPTH: Final = 1_000
"""As deep as `json.loads` goes."""

_INSIDE: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
"""What is inside a string."""
_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_TEXT: Final = re.compile(b"(?s)%b" % _INSIDE)
_STRING: Final = re.compile(b'(?s)"%b"' % _INSIDE)
_NO_BRACKET: Final = re.compile(rb'(?s)(?:[^"{}\[\]]++|"%b")*+' % _INSIDE)
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]++")
_SIMPLE: Final = re.compile(rb'(?s)"%b"|[-+.0-9A-Za-z]++' % _INSIDE)
_MEMBER: Final = re.compile(rb'(?s)[ \t\n\r]*+"(%b)"[ \t\n\r]*+:[ \t\n\r]*+' % _INSIDE)
_AFTER: Final = re.compile(rb"[ \t\n\r]*+([,}\]])")

_QUOTE, _COLON, _OPEN, _CLOSE = b'":{}'
_OPEN_ARRAY, _CLOSE_ARRAY = b"[]"


class Span(NamedTuple):
    """A value as positions in the text."""

    start: int
    end: int


class NotJsonError(ValueError):
    """The text is not JSON; says where."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(f"{what} at byte {position}")


class NestedTooDeeplyError(ValueError):
    """The text is nested deeper than can be read."""


Steps = Generator[None, None, int]
"""A scan that pauses now and then; returns the position behind what it has read."""
Reader = Callable[[int], Steps]
"""Reads the value that begins at a position."""


class Scanner:
    """Reads one text. It notices a text that breaks off, and leaves finer faults to whoever parses it.

    Every method takes a position and raises `NotJsonError` or `NestedTooDeeplyError`.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._end = len(text)
        self._steps = 0
        self._bytes = 0
        self._position = 0

    def skip_space(self, position: int) -> int:
        """Where the next thing begins."""
        found = _SPACE.match(self.text, position)
        return found.end() if found else position

    def value(self, position: int) -> Steps:
        """Reads over a value."""
        first = self._at(position)
        if first == _QUOTE:
            return (yield from self._string(position))
        if first in (_OPEN, _OPEN_ARRAY):
            return (yield from self.rest(position + 1))
        found = _SCALAR.match(self.text, position, position + 1_000)
        if found is None:
            raise NotJsonError(position, "no value")
        return found.end()

    def rest(self, position: int) -> Steps:
        """Reads over what is left of an object or array that has been entered, its closing bracket included."""
        depth = 1
        text = self.text
        while True:
            found = _NO_BRACKET.match(text, position, position + _WINDOW_BYTES)
            position = found.end() if found else position
            following = self._at(position)
            if following in (_CLOSE, _CLOSE_ARRAY):
                position += 1
                depth -= 1
                if depth == 0:
                    return position
            elif following in (_OPEN, _OPEN_ARRAY):
                position += 1
                depth += 1
                if depth > _MOST_DEPTH:
                    raise NestedTooDeeplyError
            elif following == _QUOTE:  # a string beyond the window
                position = yield from self._string(position)
            if self._is_time(position):
                yield

    def contains(self, part: bytes, start: int = 0, end: int | None = None) -> Generator[None, None, bool]:
        """Whether these bytes are somewhere in the text, or in a stretch of it."""
        end = self._end if end is None else end
        for position in range(start, end, _SEARCHED_BYTES):
            if self.text.find(part, position, min(position + _SEARCHED_BYTES + len(part) - 1, end)) >= 0:
                return True
            if position > start:
                yield
        return False

    def members(
        self,
        position: int,
        readers: Mapping[bytes, Reader],
        wanted: Collection[bytes] = (),
        found: "dict[bytes, Span] | None" = None,
    ) -> Steps:
        """Reads an object: some members by readers of their own; of others that are wanted, notes where they are found.

        Of a repeated name the last one counts.
        """
        text = self.text
        position = self.skip_space(position + 1)
        if self._at(position) == _CLOSE:
            return position + 1
        while True:
            member = _MEMBER.match(text, position, position + _WINDOW_BYTES)
            if member is not None:
                key, start = member[1], member.end()
            else:  # a fault, or a name of many kilobytes
                key, start = b"", (yield from self._key(position))
            reader = readers.get(key)
            if reader is not None:
                position = yield from reader(start)
            else:
                simple = _SIMPLE.match(text, start, start + _WINDOW_BYTES)
                position = simple.end() if simple else (yield from self.value(start))
                if found is not None and key in wanted:
                    found[key] = Span(start, position)
            position, is_last = self._after(position)
            if is_last:
                return position
            if self._is_time(position):
                yield

    def elements(self, position: int, read: Reader) -> Steps:
        """Reads an array, each element by a reader."""
        position = self.skip_space(position + 1)
        if self._at(position) == _CLOSE_ARRAY:
            return position + 1
        while True:
            position, is_last = self._after((yield from read(position)))
            if is_last:
                return position
            position = self.skip_space(position)
            if self._is_time(position):
                yield

    def _key(self, position: int) -> Steps:
        """Reads a name and the colon after it, the slow way."""
        position = self.skip_space((yield from self._string(self.skip_space(position))))
        if self._at(position) != _COLON:
            raise NotJsonError(position, "no colon")
        return self.skip_space(position + 1)

    def _after(self, position: int) -> tuple[int, bool]:
        """Where it goes on after a value, and whether that was the last one."""
        after = _AFTER.match(self.text, position)
        if after is None:
            position = self.skip_space(position)
            self._at(position)
            raise NotJsonError(position, "no comma")
        return after.end(), after[1] != b","

    def _string(self, position: int) -> Steps:
        if self._at(position) != _QUOTE:
            raise NotJsonError(position, "no string")
        found = _STRING.match(self.text, position, position + _WINDOW_BYTES)
        if found:
            return found.end()
        position += 1
        while True:
            inside = _TEXT.match(self.text, position, position + _WINDOW_BYTES)
            end = inside.end() if inside else position
            if self._at(end) == _QUOTE:
                return end + 1
            if end == position:
                raise NotJsonError(position, "an unfinished string")
            position = end
            if self._is_time(position):
                yield

    def _at(self, position: int) -> int:
        if position >= self._end:
            raise NotJsonError(self._end, "an unexpected end")
        return self.text[position]

    def _is_time(self, position: int) -> bool:
        """Whether enough was done to let others have a turn."""
        self._steps += 1
        self._bytes += max(0, position - self._position)
        self._position = position
        if self._steps < _STEPS_PER_SLICE and self._bytes < _WINDOW_BYTES:
            return False
        self._steps = self._bytes = 0
        return True
