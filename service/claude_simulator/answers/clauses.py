"""Splits a request in natural language into clauses, and derives names from its words."""

import json
import re
import unicodedata
from typing import Any, Final

MAX_REQUEST_CHARACTERS: Final = 8_000
"""The rest is ignored, to bound the work for one request."""

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
    """Extracts the request from a message: the content of the last XML-like tag, or else the whole message.

    A lone surrogate, which JSON can contain, becomes a question mark.
    """
    start = message[:MAX_REQUEST_CHARACTERS].encode(errors="replace").decode()
    tagged = _TAGGED.findall(start)
    return str(tagged[-1][1] if tagged else start).strip()


def schema_in(system: str) -> dict[str, Any] | None:
    """The JSON Schema at the end of a system prompt that mentions one; None without one."""
    rules, blank_line, rest = system.partition("\n\n{")
    if not blank_line or "JSON Schema" not in rules:
        return None
    try:
        schema = json.loads("{" + rest)
    except ValueError:
        return None
    return schema if isinstance(schema, dict) else None


def clauses(text: str) -> list[str]:
    """Splits a request into clauses, at most `MAX_CLAUSES`.

    Splits at punctuation, at "then", and at an "and" before a verb unless the clause says "in parallel".
    """
    found: list[str] = []
    for line in text.splitlines():
        tidy = " ".join(line.split())  # with runs of spaces the patterns would take quadratic time
        for part in _SEPARATORS.split(_LIST_MARK.sub("", tidy)):
            steps = [part] if "parallel" in part.lower() else _VERB_PAIR.split(part)
            found += [step.strip() for step in steps if _WORD.search(step)]
    return found[:MAX_CLAUSES]


def camel_case(text: str, *, fallback: str) -> str:
    """The first four words without fillers as a name, at most 60 characters: "check the stock" → `checkStock`."""
    words = _content_words(text)[:4]
    if not words:
        return fallback
    return (words[0].lower() + "".join(word.capitalize() for word in words[1:]))[:60]


def label(text: str, *, fallback: str) -> str:
    """The first six words without fillers as an RFC 1123 label: lower-case letters, digits and dashes, at most 63."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "-".join(_content_words(plain)[:6]).lower()[:63].strip("-") or fallback


def _content_words(text: str) -> list[str]:
    words = _WORD.findall(text)
    return [word for word in words if word.lower() not in _FILLERS] or words
