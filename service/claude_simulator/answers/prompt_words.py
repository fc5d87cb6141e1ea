"""Takes a request in plain language apart: the request itself, its clauses, and names made of words."""

import json
import re
import unicodedata
from typing import Any, Final

MAX_REQUEST_CHARACTERS: Final = 8_000
"""What stands after these is not read: it bounds the work that one request can cause."""

MAX_CLAUSES: Final = 40

_TAGGED: Final = re.compile(r"<([a-z_]+)>(.+?)</\1>", re.IGNORECASE | re.DOTALL)
_SEPARATORS: Final = re.compile(
    r"[;\n，。；、]+|,?\s+(?:and\s+)?then\s+|,\s*(?:and\s+)?(?:finally\s+)?|[.!?](?:\s+|$)",
    re.IGNORECASE,
)
_LIST_MARK: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_FILLERS: Final = frozenset({"a", "an", "the", "please", "then", "and", "it", "to", "of", "for", "with", "by", "that"})
_VERBS: Final = (
    "add|alert|approve|archive|ask|book|call|cancel|charge|check|close|confirm|create|delete|deliver|email|emit|fetch|"
    "find|generate|get|inform|load|log|move|notify|open|order|pack|pay|post|print|publish|query|read|record|refund|"
    "register|reject|release|remove|reserve|retry|return|save|send|set|ship|start|stop|store|tell|transform|update|"
    "upload|validate|verify|wait|write"
)
_VERB_PAIR: Final = re.compile(rf"\s+and\s+(?=(?:{_VERBS})\b)", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")


def request_text(message: str) -> str:
    """The part of a message that is the request: what stands in the last XML-like tag, or else the whole.

    Half a character (a lone surrogate, which JSON can hold) becomes a question mark.
    """
    start = message[:MAX_REQUEST_CHARACTERS].encode(errors="replace").decode()
    tagged = _TAGGED.findall(start)
    return str(tagged[-1][1] if tagged else start).strip()


def schema_in(system: str) -> dict[str, Any] | None:
    """The JSON Schema that a system prompt speaks of and ends with; None where there is none."""
    rules, blank_line, rest = system.partition("\n\n{")
    if not blank_line or "JSON Schema" not in rules:
        return None
    try:
        schema = json.loads("{" + rest)
    except ValueError:
        return None
    return schema if isinstance(schema, dict) else None


def clauses(text: str) -> list[str]:
    """The request in steps, in order, at most `MAX_CLAUSES`.

    Cuts at punctuation, "then", and an "and" before a verb, which stays where a clause says "in parallel".
    """
    found: list[str] = []
    for line in text.splitlines():
        tidy = " ".join(line.split())  # runs of spaces would cost the patterns quadratic time
        for part in _SEPARATORS.split(_LIST_MARK.sub("", tidy)):
            steps = [part] if "parallel" in part.lower() else _VERB_PAIR.split(part)
            found += [step.strip() for step in steps if _WORD.search(step)]
    return found[:MAX_CLAUSES]


def camel_case(text: str, *, fallback: str) -> str:
    """The first four telling words as a name of at most 60 letters: "check the stock" becomes `checkStock`."""
    words = _telling_words(text)[:4]
    if not words:
        return fallback
    return (words[0].lower() + "".join(word.capitalize() for word in words[1:]))[:60]


def label(text: str, *, fallback: str) -> str:
    """The first six telling words as an RFC 1123 label: lower-case letters, digits and dashes, at most 63."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "-".join(_telling_words(plain)[:6]).lower()[:63].strip("-") or fallback


def _telling_words(text: str) -> list[str]:
    words = _WORD.findall(text)
    return [word for word in words if word.lower() not in _FILLERS] or words
