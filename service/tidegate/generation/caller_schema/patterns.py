"""Bounds the size of the regular expressions in a caller's schema, and the work of matching them."""

import re
from functools import cache
from typing import Final

import jsonschema_rs
from jsonschema_rs import FancyRegexOptions, RegexOptions

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["SchemaPatterns"]

_LONGEST_PATTERN: Final = 2_000
_REGEX_BYTES: Final = (2_000, 10_000, 50_000, 100_000)
"""Classes of size of a compiled regular expression. The last one is the allowed size."""

_MOST_REGEX_BYTES: Final = 1_000_000
"""The allowed size of all patterns of a schema together. Compiling takes up to 8 ns per byte."""

_UNITS_PER_BYTE_AND_CHARACTER: Final = 28e-6
"""A match takes up to 0.14 ns per byte of the pattern and character of the text, counted in units of 5 µs.

Measured with `[01]*1[01]{1383}x`, whose automaton does not fit into any cache.
"""

_MOST_BACKTRACKS: Final = 1_000
"""The allowed backtracking steps of one match. Look-around and back-references need them; other patterns do not."""

_UNITS_PER_SQUARE_CHARACTER: Final = 1 / 5_000
"""For a match with backtracking, of which each step may read the whole text again."""

_COUNTED: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


class SchemaPatterns:
    """The patterns of one schema."""

    def __init__(self) -> None:
        self._regex_bytes: dict[str, int] = {}
        self._backtracking: set[str] = set()

    def engine(self) -> RegexOptions | FancyRegexOptions:
        """Returns the regex engine that supports all patterns."""
        return _engine(_REGEX_BYTES[-1], backtracks=bool(self._backtracking))

    def match_units(self, pattern: str, characters: int) -> float:
        """Returns the work of matching a pattern with a text of some characters, in units."""
        linear = self._regex_bytes[pattern] * characters * _UNITS_PER_BYTE_AND_CHARACTER
        return linear + (characters**2 * _UNITS_PER_SQUARE_CHARACTER if pattern in self._backtracking else 0)

    def add(self, pattern: str) -> None:
        """Adds a pattern.

        Raises:
            ConfigurationError: it is not supported, or the patterns are too large.
        """
        if pattern in self._regex_bytes:
            return
        self._regex_bytes[pattern] = self._compiled_bytes(pattern)
        if sum(self._regex_bytes.values()) > _MOST_REGEX_BYTES:
            given = "patterns that are too large together"
            raise ConfigurationError("schema", given, f"at most {_MOST_REGEX_BYTES:,} bytes, compiled")

    def _compiled_bytes(self, pattern: str) -> int:
        """Returns the size class of a compiled pattern, and remembers the pattern if it needs backtracking."""
        if len(pattern) <= _LONGEST_PATTERN:
            for size in _REGEX_BYTES:
                if _compiles(pattern, _engine(size)):
                    return size
            if _repetitions(pattern) <= _MOST_BACKTRACKS and _compiles(
                pattern, _engine(_REGEX_BYTES[-1], backtracks=True)
            ):
                self._backtracking.add(pattern)
                return _REGEX_BYTES[-1]
        raise ConfigurationError(
            "schema.pattern",
            pattern,
            f"a regular expression of at most {_LONGEST_PATTERN:,} characters, and short when its repetitions are "
            "written out",
        )


@cache
def _engine(size: int, *, backtracks: bool = False) -> RegexOptions | FancyRegexOptions:
    if backtracks:
        return FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKS, size_limit=size, dfa_size_limit=1_000_000)
    return RegexOptions(size_limit=size, dfa_size_limit=1_000_000)


def _compiles(pattern: str, engine: RegexOptions | FancyRegexOptions) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=engine, offline=True)
    except ValueError:
        return False
    return True


def _repetitions(pattern: str) -> int:
    """Returns an upper bound of how much longer a pattern is when its counted repetitions are written out."""
    product = 1
    for least, most in _COUNTED.findall(pattern):
        product *= max(int(least), int(most or 0), 1)
    return product
