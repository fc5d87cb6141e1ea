"""Lists the strings of a document, with what the checks of expressions must know about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.generation.dsl.findings import pointer
from tidegate.generation.dsl.parts import Part, Place

__all__ = ["Text", "texts"]

_EXPRESSIONS: Final = frozenset(
    {"TaskBaseIf", "ForIn", "While", "SwitchCaseCondition", "CatchWhen", "CatchExceptWhen", "RetryWhen"}
    | {"RetryExcepWhen", "InputFrom", "OutputAs", "ExportAs", "CorrelateFrom", "AnyEventUntilCondition"}
    | {"ExtensionCondition"}
)
"""Titles of places that hold an expression, with or without `${ }` around it."""

_NOT_EVALUATED: Final = frozenset({"TaskMetadata", "InlineScriptCode", "SchemaInline"})
"""Titles of places that no runtime evaluates. The header of the document is another."""

_PROGRAMS: Final = frozenset({"Container", "Script", "Shell", "McpStdioTransport"})
"""Titles of programs, whose arguments and environment may contain `${` in the sense of a shell or a language."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string of a document.

    Attributes:
        path: the JSON pointer of the string.
        text: the string.
        is_expression: whether it is an expression even without `${ }` around it.
        is_for_a_program: whether it is passed to a program, which may interpret `${` itself.
        variables: the jq variables (without `$`) that loops and catch clauses around it add.
    """

    path: str
    text: str
    is_expression: bool
    is_for_a_program: bool
    variables: frozenset[str]


_Scopes = list[tuple[str, frozenset[str]]]
"""Paths, and the variables that are available at and below each of them."""


def texts(parts: Sequence[Part]) -> Iterator[Text]:
    """Yields the strings of a document that a runtime may evaluate, those of each part before those inside it."""
    scopes: dict[str, _Scopes] = {}
    excluded = {part.path for part in parts} | {"/document"}
    for part in parts:
        inherited = _variables_at(scopes[part.parent.path], part.path) if part.parent else frozenset()
        scopes[part.path] = [(part.path, inherited), *(scope for place in part.places for scope in _scopes_of(place))]
        excluded.update(place.path for place in part.places if place.title in _NOT_EVALUATED)
        expressions = {place.path for place in part.places if place.title in _EXPRESSIONS}
        programs = tuple(f"{place.path}/" for place in part.places if place.title in _PROGRAMS)
        for path, text in _strings(part.value, part.path, excluded):
            variables = _variables_at(scopes[part.path], path)
            yield Text(path, text, path in expressions, path.startswith(programs), variables)


def _scopes_of(place: Place) -> _Scopes:
    """Returns where the variables that a loop or a catch clause names are available."""
    path, title, value = place
    if title == "ForTask":
        loop = value["for"]
        names = frozenset({loop.get("each", "item"), loop.get("at", "index")})
        return [(f"{path}/while", names), (f"{path}/do", names)]
    if title == "SubscriptionIterator":
        names = frozenset({value.get("item", "item"), value.get("at", "index")})
        return [(f"{path}/{key}", names) for key in ("do", "output", "export")]
    if title == "TryTaskCatch":
        return [(f"{path}/{key}", frozenset({value.get("as", "error")})) for key in value if key != "errors"]
    return []


def _variables_at(scopes: _Scopes, path: str) -> frozenset[str]:
    return frozenset().union(*(names for start, names in scopes if path == start or path.startswith(f"{start}/")))


def _strings(value: Any, path: str, excluded: set[str]) -> Iterator[tuple[str, str]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        inside = pointer([key], path)
        if inside in excluded:
            continue
        if isinstance(item, str):
            yield inside, item
        elif isinstance(item, dict | list):
            yield from _strings(item, inside, excluded)
