"""Findings about a workflow document: what is wrong, where, and what is allowed."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

__all__ = ["Finding", "did_you_mean", "listed", "pointer", "shown"]

_CREDENTIALS_IN_URI: Final = re.compile(r"//[^/@]*@")
_SHOWN_CHARACTERS: Final = 60
_LISTED_NAMES: Final = 20
_COMPARED_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a workflow document.

    Attributes:
        path: a JSON pointer (RFC 6901) into the document, such as `/do/0/checkStock/call`. A missing property has the
            path that it should have. The path is empty for the document as a whole.
        message: what is wrong, what was given and what is allowed. It never contains a password or token.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'document'}: {self.message}"


def pointer(parts: Iterable[object], start: str = "") -> str:
    """Returns a JSON pointer extended by keys and indexes."""
    return start + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def shown(value: object) -> str:
    """Returns a value as JSON for a message, at most 60 characters, without the credentials of a URI.

    Objects and lists are named, but their content is not shown.
    """
    if value and isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = _CREDENTIALS_IN_URI.sub("//…@", json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def listed(names: Collection[str]) -> str:
    """Returns names for a message: the first twenty and how many there are, or "none"."""
    first = ", ".join(list(names)[:_LISTED_NAMES]) or "none"
    return first if len(names) <= _LISTED_NAMES else f"{first}, … ({len(names)} in all)"


def did_you_mean(given: Iterable[str], allowed: Sequence[str]) -> str:
    """Returns a suggestion such as " (did you mean call?)" for the first name that resembles an allowed one, or ""."""
    for name in given:
        if len(name) <= _COMPARED_CHARACTERS and (matches := get_close_matches(name, allowed, 1, 0.75)):
            return f" (did you mean {matches[0]}?)"
    return ""
