"""Findings: what is wrong with a document, where, and what is allowed."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.generation.dsl.refusals import COMPLETE

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SECRET_PROPERTIES = frozenset(
    {"password", "secret", "secrets", "assertion", "token", "authentication", "authentications"}
    | {"basic", "bearer", "digest", "oauth2", "oidc", "client", "subject", "actor"}
)
_CREDENTIALS_IN_URI = re.compile(r"//[^/@]*@")
_SHOWN_CHARACTERS = 60
_LISTED_NAMES = 20

_SIZES = frozenset({"too_short", "too_long"})
_IN_WORDS = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "string_too_short": "must have at least one character",
}
"""The errors of pydantic that the models can raise, by type, in the words of the DSL."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a workflow document.

    Attributes:
        path: Where, as a JSON pointer (RFC 6901) into the document, such as `/do/0/checkStock/call`; the path of what
            is missing if something is missing; empty for the document as a whole.
        message: What is wrong, what was given and what is allowed. It never holds a password or token.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'document'}: {self.message}"


def pointer(parts: Iterable[object], start: str = "") -> str:
    """Return the JSON pointer that goes on from another with these keys and indexes."""
    return start + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def shown(value: object) -> str:
    """Return a value for a message: JSON cut to 60 characters, without credentials in URIs or the inside of objects."""
    if value and isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = _CREDENTIALS_IN_URI.sub("//…@", json.dumps(value, ensure_ascii=False))
    text = text.encode(errors="backslashreplace").decode()  # half characters, which JSON can spell but UTF-8 cannot
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def listed(names: Collection[str]) -> str:
    """Return names for a message: the first twenty and how many there are, or «none»."""
    first = ", ".join(list(names)[:_LISTED_NAMES]) or "none"
    return first if len(names) <= _LISTED_NAMES else f"{first}, … ({len(names)} in all)"


def finding_of(error: "ErrorDetails") -> Finding:
    """Return the finding for an error of pydantic."""
    keys = [part for part in error["loc"] if part != "[key]"]
    return Finding(pointer(keys), _message(error["type"], error, keys))


def _message(kind: str, error: "ErrorDetails", keys: Sequence[int | str]) -> str:
    value = error["input"]
    if kind == COMPLETE:
        return error["msg"]
    if kind == "missing":
        return "is missing; it is required here"
    if kind in _SIZES:
        # Objects in lists are the DSL's named entries: exactly one each. Everything else has a minimum only.
        needed = "exactly" if keys and isinstance(keys[-1], int) else "at least"
        return f"must have {needed} one entry, not {len(value)}"
    what = f"must be {error['ctx']['expected']}" if kind == "literal_error" else _IN_WORDS.get(kind, error["msg"])
    return f"{what}, not {'what was given (not shown)' if _is_secret(keys) else shown(value)}"


def _is_secret(keys: Sequence[int | str]) -> bool:
    """Whether the value may be a credential: it is one, or it was put where an authentication belongs."""
    return bool(keys) and (keys[-1] in _SECRET_PROPERTIES or keys[-2:-1] == ["authentications"])
