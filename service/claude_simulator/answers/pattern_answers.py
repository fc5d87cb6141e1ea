"""Composes a short text that matches a regular expression (ECMA-262), part by part and without search."""

import string
from collections.abc import Callable
from typing import Final

__all__ = ["text_matching"]

_Piece = Callable[[int], str]
"""Composes a text. The argument is how many times each repetition is made beyond its minimum."""

_MOST_REPETITIONS: Final = 1_000
_MOST_CHARACTERS: Final = 10_000
_CANDIDATES: Final = "a0A-_ .:/@" + string.ascii_letters + string.digits + string.punctuation
_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "d": str.isdigit,
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_HEX_DIGITS: Final = {"x": 2, "u": 4}


def text_matching(pattern: str, least: int = 0) -> str | None:
    """Composes a matching text of at least `least` characters; None if the pattern is not supported.

    Back-references and positive look-around are not supported. Negative look-around is ignored.
    """
    try:
        piece = _Parser(pattern).whole()
        for more in (*range(min(least, 64) + 1), least):
            text = piece(more)
            if len(text) >= least:
                return text
    except (_UnsupportedError, IndexError, ValueError):
        return None
    return None


class _UnsupportedError(Exception):
    """The pattern has an unsupported part."""


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def whole(self) -> _Piece:
        piece = self._alternatives()
        if self._at < len(self._pattern):
            raise _UnsupportedError
        return piece

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _alternatives(self) -> _Piece:
        first = self._sequence()
        while self._take("|"):
            self._sequence()
        return first

    def _sequence(self) -> _Piece:
        pieces: list[_Piece] = []
        while self._peek() not in ("", "|", ")"):
            pieces.append(self._repeated(self._atom()))
        return lambda more: "".join(piece(more) for piece in pieces)

    def _repeated(self, piece: _Piece) -> _Piece:
        least, most = self._counts()
        self._take("?")
        if least > _MOST_REPETITIONS:
            raise _UnsupportedError

        def repeated(more: int) -> str:
            count = min(least + more, most)
            text = piece(more)
            if count * len(text) > _MOST_CHARACTERS:
                raise _UnsupportedError
            return text * count

        return repeated

    def _counts(self) -> tuple[int, int]:
        for sign, counts in {"*": (0, _MOST_REPETITIONS), "+": (1, _MOST_REPETITIONS), "?": (0, 1)}.items():
            if self._take(sign):
                return counts
        end = self._pattern.find("}", self._at)
        if self._peek() != "{" or end < 0:
            return 1, 1
        least, comma, most = self._pattern[self._at + 1 : end].partition(",")
        self._at = end + 1
        return int(least), int(most) if most else _MOST_REPETITIONS if comma else int(least)

    def _atom(self) -> _Piece:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return _always(self._one_of_class())
        if character == "\\":
            return _always(self._escaped())
        if character in "^$":
            return _always("")
        return _always("a" if character == "." else character)

    def _group(self) -> _Piece:
        ignored = self._take("?!") or self._take("?<!")
        if self._take("?=") or self._take("?<="):
            raise _UnsupportedError
        if not ignored and not self._take("?:") and self._take("?<"):
            while self._next() != ">":
                pass
        inner = self._alternatives()
        if not self._take(")"):
            raise _UnsupportedError
        return _always("") if ignored else inner

    def _escaped(self) -> str:
        character = self._pattern[self._at]
        if character in "bB":
            self._at += 1
            return ""
        accepts = self._category()
        if accepts is not None:
            return _chosen([accepts], negated=False)
        return self._literal_escape()

    def _category(self) -> Callable[[str], bool] | None:
        """The character class after a backslash, such as `d`; None if there is none."""
        character = self._pattern[self._at]
        accepts = _CATEGORIES.get(character.lower())
        if accepts is not None:
            self._at += 1
            return accepts if character.islower() else _not(accepts)
        if character in "pP" and self._pattern.startswith("{", self._at + 1):
            end = self._pattern.index("}", self._at)
            name = self._pattern[self._at + 2 : end].rpartition("=")[2]
            self._at = end + 1
            accepts = _property(name)
            return accepts if character == "p" else _not(accepts)
        return None

    def _literal_escape(self) -> str:
        character = self._next()
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in _HEX_DIGITS:
            if self._take("{"):
                end = self._pattern.index("}", self._at)
                digits, self._at = self._pattern[self._at : end], end + 1
            else:
                digits = self._pattern[self._at : self._at + _HEX_DIGITS[character]]
                self._at += len(digits)
            return chr(int(digits, 16))
        if character.isalnum():
            raise _UnsupportedError  # back-references, and rare escapes
        return character

    def _one_of_class(self) -> str:
        negated = self._take("^")
        accepted: list[Callable[[str], bool]] = []
        literals: list[str] = []
        while not self._take("]"):
            first = self._class_part()
            if not isinstance(first, str):
                accepted.append(first)
                continue
            last = first
            if self._peek() == "-" and self._pattern[self._at + 1] != "]":
                self._at += 1
                end = self._class_part()
                last = end if isinstance(end, str) else first
            accepted.append(_between(first, last))
            literals.append(first)
        return _chosen(accepted, negated=negated, others="".join(literals))

    def _class_part(self) -> str | Callable[[str], bool]:
        if not self._take("\\"):
            return self._next()
        return self._category() or self._literal_escape()


def _always(text: str) -> _Piece:
    return lambda _: text


def _not(accepts: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda character: not accepts(character)


def _between(first: str, last: str) -> Callable[[str], bool]:
    return lambda character: first <= character <= last


def _property(name: str) -> Callable[[str], bool]:
    kinds: dict[str, Callable[[str], bool]] = {"Lu": str.isupper, "Ll": str.islower, "L": str.isalpha}
    return kinds.get(name, str.isdigit if name.startswith("N") else str.isalpha)


def _chosen(accepted: list[Callable[[str], bool]], *, negated: bool, others: str = "") -> str:
    for character in _CANDIDATES + others:
        if any(accepts(character) for accepts in accepted) != negated:
            return character
    raise _UnsupportedError
