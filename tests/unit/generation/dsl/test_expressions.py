import resource
import sys
from typing import Any

import pytest

from support.workflow_documents import HEADER
from tidegate.generation.dsl import check_document
from tidegate.generation.dsl.semantics.expressions import MAX_CHARACTERS, MAX_EXPRESSIONS


@pytest.mark.parametrize(
    "expression",
    [
        "${ .a * 2 }",
        "${ .a |= . * 2 | .b *= 3 }",
        '${ "a * b" }',
        "${\n  .a |\n  .b\n}",
        "  ${ .a }  ",
        "${ [.items[] | select(.price > 10) | {name, total: (.price * .amount)}] }",
        "${ reduce .[] as $n (0; . + $n) }",
        "plain text with } and { and $",
        '${ "Hello \\(.name)" }',
    ],
)
def test_is_accepted(expression: str) -> None:
    assert _messages(expression) == []


@pytest.mark.parametrize("text", ["Hello ${ .name }", "${ .name", "${ .first } and", "see ${"])
def test_an_expression_in_only_a_part_of_a_string_would_be_plain_text(text: str) -> None:
    (message,) = _messages(text)

    assert message.startswith("has ${ but is not one runtime expression as a whole")


def test_shells_programs_and_descriptions_have_that_sign_in_their_own_sense() -> None:
    header = {**HEADER, "summary": "costs ${ 5 }"}
    tasks = [
        {"run": {"shell": {"command": "echo ${HOME} is home", "environment": {"PATH": "${HOME}/bin"}}}},
        {"run": {"container": {"image": "alpine", "command": "echo ${HOME} is home"}}},
        {"run": {"script": {"language": "js", "code": "`${a} b`", "arguments": {"a": "${a} b"}}}},
    ]
    document: dict[str, Any] = {"document": header, "do": [{f"task{at}": task} for at, task in enumerate(tasks)]}
    assert check_document(document) == ()

    server = {"command": "serve", "environment": {"PATH": "${HOME}/bin"}}
    call = {"call": "mcp", "with": {"method": "tools/list", "transport": {"stdio": server}}}
    header = {**HEADER, "dsl": "1.0.3"}
    assert check_document({"document": header, "do": [{"a": call}]}) == ()

    document["do"].append({"after": {"set": {"x": "a ${ .b }"}}})
    assert [finding.path for finding in check_document(document)] == ["/do/3/after/set/x"]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("${ .a * }", "syntax error, unexpected end of file"),
        ("${ .a ** 2 }", "syntax error, unexpected '*'"),
        ("${ .a\0 | }", "it contains a NUL character"),
        ('${ # first\n include "x"; . }', "import, include and module are not available in a workflow"),
        ("${ " + "1+" * MAX_CHARACTERS + "1 }", f"it has 16001 characters; at most {MAX_CHARACTERS} are allowed"),
        ("${ " + "(" * 7_000 + " }", "syntax error, unexpected end of file"),
    ],
)
def test_is_refused(expression: str, problem: str) -> None:
    (message,) = _messages(expression)

    assert message.startswith(f"is not a jq expression: {problem}")


def test_constants_are_not_multiplied_while_compiling() -> None:
    before_bytes = _peak_memory_bytes()

    assert _messages('${ ("x") * 900000000 }') == []

    assert _peak_memory_bytes() - before_bytes < 100_000_000


def test_a_document_has_a_limited_number_of_expressions() -> None:
    document = {"document": HEADER, "do": [{"a": {"set": {"x": ["${ . }"] * (MAX_EXPRESSIONS + 5)}}}]}
    findings = check_document(document)

    assert [str(finding) for finding in findings] == [
        f"/do/0/a/set/x/{MAX_EXPRESSIONS}: is one expression too many; a document may have {MAX_EXPRESSIONS}"
    ]


def test_another_expression_language_is_not_judged() -> None:
    document = {"document": HEADER, "evaluate": {"language": "js"}, "do": [{"a": {"set": {"x": "${ a ?? b }"}}}]}

    assert check_document(document) == ()


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _messages(expression: str) -> list[str]:
    document = {"document": HEADER, "do": [{"a": {"set": {"x": expression}}}]}
    return [finding.message for finding in check_document(document)]
