"""Whether runtime expressions parse as jq, and use only variables and secrets that exist."""

import re
from collections.abc import Iterator
from functools import lru_cache

import jq

from tidegate.generation.dsl.findings import Finding, listed, shown
from tidegate.generation.dsl.marks import Holds
from tidegate.generation.dsl.semantics.walk import Place, walk
from tidegate.generation.dsl.tasks.run import Container, ExternalScript, InlineScript, Shell
from tidegate.generation.dsl.workflow import Workflow

_DELIMITED = re.compile(r"\s*\$\{(.*)\}\s*", re.DOTALL)
_ARGUMENTS = frozenset({"context", "input", "output", "secrets", "authorization", "task", "workflow", "runtime"})
"""The arguments that runtimes provide (DSL 1.0.0, «Runtime expression arguments»), here in every expression."""

_MODULES = re.compile(r"\s*(#[^\n]*\n\s*)*(import|include|module)\b")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r'\$secrets\s*(?:\.\s*([A-Za-z_][A-Za-z0-9_]*)|\.?\[\s*"([^"\\]*)"\s*\])')
_MULTIPLICATION = re.compile(r"\*(?!=)")
"""jq multiplies constants while it compiles, and `"x" * 1e9` is a string of a gigabyte. A factor that is not constant
(`.`) in between prevents it, and changes nothing about whether the expression parses."""

_PARTLY = (
    "has ${ but is not one runtime expression as a whole, so it would be plain text; "
    r'put all of it inside, such as ${ "text \(.name)" }'
)

MAX_CHARACTERS = 8_000
"""The length of an expression. jq's parser gives up at a depth of ten thousand."""

MAX_EXPRESSIONS = 1_000
"""Expressions in one document; each takes about a millisecond to compile."""


def check_expressions(workflow: Workflow) -> Iterator[Finding]:
    """Yield a finding for each runtime expression that is no jq, or uses a variable or secret that does not exist.

    A string with `${` that is not one expression as a whole is a finding too: a runtime takes it as plain text. What
    shells and programs get, and the texts under `document`, may have `${` in their own sense.

    Expressions are the strings of the form `${ … }` anywhere, and all strings in places that hold expressions only,
    such as `if` and `when`. A workflow whose `evaluate.language` is not jq is not checked.
    """
    evaluate = (workflow.model_extra or {}).get("evaluate")
    if isinstance(evaluate, dict) and evaluate.get("language", "jq") != "jq":
        return
    secrets = (workflow.use.secrets if workflow.use else None) or []
    count = 0
    texts = "/document/"
    for place in walk(workflow):
        if isinstance(place.value, Container | ExternalScript | InlineScript | Shell):
            texts = f"{place.path}/"
        text = _expression_in(place)
        if text is None:
            if isinstance(place.value, str) and "${" in place.value and not place.path.startswith(texts):
                yield Finding(place.path, f"{_PARTLY}; given {shown(place.value)}")
            continue
        count += 1
        if count > MAX_EXPRESSIONS:
            yield Finding(place.path, f"is one expression too many; a document may have {MAX_EXPRESSIONS}")
            return
        problem = _problem(text, place.variables)
        if problem is not None:
            yield Finding(place.path, f"is not a jq expression: {problem}; given {shown(text)}")
        for dotted, quoted in _SECRET.findall(text):
            name = dotted or quoted
            if name not in secrets:
                yield Finding(
                    place.path,
                    f"uses the secret {shown(name)}, which use.secrets does not declare; declared: {listed(secrets)}",
                )


def _expression_in(place: Place) -> str | None:
    if not isinstance(place.value, str):
        return None
    delimited = _DELIMITED.fullmatch(place.value)
    if delimited is not None:
        return delimited[1].strip()
    return place.value.strip() if Holds.EXPRESSION in place.marks else None


@lru_cache(maxsize=1024)
def _problem(text: str, variables: frozenset[str]) -> str | None:
    """Return what jq says against an expression, in one line, or `None`; a compilation takes about a millisecond."""
    if len(text) > MAX_CHARACTERS:
        return f"it has {len(text)} characters; at most {MAX_CHARACTERS} are allowed"
    if "\0" in text:
        return "it contains a NUL character"
    if _MODULES.match(text):  # jq would look for files on this machine
        return "import, include and module are not available in a workflow"
    names = _ARGUMENTS | {name for name in variables if _VARIABLE.fullmatch(name)}
    try:
        jq.compile(_MULTIPLICATION.sub("*.*", text), args=dict.fromkeys(names))
    except ValueError as error:
        return _in_one_line(str(error), names)
    return None


def _in_one_line(message: str, names: frozenset[str]) -> str:
    """Return jq's first complaint without its place; an unknown variable is answered with those that exist."""
    first = message.splitlines()[0].removeprefix("jq: error: ").partition(" at <top-level>")[0]
    if re.match(r"\$\S+ is not defined", first):
        first += f" (available: {', '.join('$' + name for name in sorted(names))})"
    return first
