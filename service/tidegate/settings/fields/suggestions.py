"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the most similar known name, or an empty text if none is similar."""
    likely = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {likely[0]}?" if likely else ""
