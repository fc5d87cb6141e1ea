"""Checks that runtime expressions are valid jq and use only variables and secrets that exist."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import jq

from tidegate.generation.dsl.findings import Finding, listed, shown
from tidegate.generation.dsl.parts import Part
from tidegate.generation.dsl.semantics.texts import texts

__all__ = ["MAX_CHARACTERS", "MAX_EXPRESSIONS", "check_expressions"]

_DELIMITED: Final = re.compile(r"\s*\$\{(.*)\}\s*", re.DOTALL)
_ARGUMENTS: Final = frozenset({"context", "input", "output", "secrets", "authorization", "task", "workflow", "runtime"})
"""The arguments of runtime expressions (DSL reference, "Runtime expression arguments"), here in every expression."""

_MODULES: Final = re.compile(r"\s*(#[^\n]*\n\s*)*(import|include|module)\b")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET: Final = re.compile(r'\$secrets\s*(?:\.\s*([A-Za-z_][A-Za-z0-9_]*)|\.?\[\s*"([^"\\]*)"\s*\])')
_MULTIPLICATION: Final = re.compile(r"\*(?!=)")
"""jq multiplies constants while it compiles, and `"x" * 1e9` is a string of a gigabyte. The factor `.`, which is not
constant, prevents that. It does not change whether the expression is valid."""

_PARTLY: Final = (
    "has ${ but is not one runtime expression as a whole, so it would be plain text; "
    r'put all of it inside, such as ${ "text \(.name)" }'
)

MAX_CHARACTERS: Final = 8_000
"""The allowed length of an expression. The parser of jq gives up at a depth of ten thousand."""

MAX_EXPRESSIONS: Final = 1_000
"""The allowed number of expressions in a document. Each takes about a millisecond to compile."""


def check_expressions(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields a finding for each expression that is not valid jq, or that uses an undeclared variable or secret.

    Expressions are the strings of the form `${ … }` anywhere, and all strings in places that hold only expressions,
    such as `if` and `when`. A string that contains `${` but is not one expression as a whole is also a finding, because
    a runtime takes it as plain text. A document whose `evaluate.language` is not jq is not checked.
    """
    document = parts[0].value
    evaluate = document.get("evaluate")
    if isinstance(evaluate, dict) and evaluate.get("language", "jq") != "jq":
        return
    secrets = document.get("use", {}).get("secrets", ())
    count = 0
    for text in texts(parts):
        delimited = _DELIMITED.fullmatch(text.text)
        has_sign = "${" in text.text and delimited is None
        if delimited is None and not text.is_expression:
            if has_sign and not text.is_for_a_program:
                yield Finding(text.path, f"{_PARTLY}; given {shown(text.text)}")
            continue
        expression = (delimited[1] if delimited else text.text).strip()
        count += 1
        if count > MAX_EXPRESSIONS:
            yield Finding(text.path, f"is one expression too many; a document may have {MAX_EXPRESSIONS}")
            return
        problem = _problem(expression, text.variables)
        if problem is not None:
            described = _PARTLY if has_sign else f"is not a jq expression: {problem}"
            yield Finding(text.path, f"{described}; given {shown(expression)}")
        yield from _check_secrets(expression, text.path, secrets)


def _check_secrets(expression: str, path: str, secrets: Sequence[str]) -> Iterator[Finding]:
    for dotted, quoted in _SECRET.findall(expression):
        name = dotted or quoted
        if name not in secrets:
            problem = f"uses the secret {shown(name)}, which use.secrets does not declare; declared: {listed(secrets)}"
            yield Finding(path, problem)


@lru_cache(maxsize=1024)
def _problem(text: str, variables: frozenset[str]) -> str | None:
    """Returns what is wrong with an expression, in one line, or None."""
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
    """Returns the first error of jq without its place. If it is an unknown variable, adds those that exist."""
    first = message.splitlines()[0].removeprefix("jq: error: ").partition(" at <top-level>")[0]
    if re.match(r"\$\S+ is not defined", first):
        first += f" (available: {', '.join('$' + name for name in sorted(names))})"
    return first
