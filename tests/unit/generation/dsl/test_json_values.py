import datetime as dt
import math
from typing import Any

import pytest

from support.workflow_documents import HEADER
from tidegate.generation.dsl import Finding, check_document
from tidegate.generation.dsl.json_values import MAX_DEPTH, MAX_VALUES


@pytest.mark.parametrize(
    ("document", "finding"),
    [
        (None, Finding("", "must be an object, not NoneType")),
        ("text", Finding("", "must be an object, not str")),
        ([], Finding("", "must be an object, not list")),
        ({1: 2}, Finding("", "has the key 1; keys must be strings (quote it in YAML)")),
        ({"schedule": {True: 1}}, Finding("/schedule", "has the key True; keys must be strings (quote it in YAML)")),
        ({"x": [math.nan]}, Finding("/x/0", "must be a JSON value, not nan (quote it in YAML)")),
        ({"x": b"y"}, Finding("/x", "must be a JSON value, not b'y' (quote it in YAML)")),
        (
            {"x": dt.date(2025, 1, 31)},
            Finding("/x", "must be a JSON value, not datetime.date(2025, 1, 31) (quote it in YAML)"),
        ),
    ],
)
def test_values_without_a_json_form_are_found_first(document: object, finding: Finding) -> None:
    assert check_document(document) == (finding,)


@pytest.mark.parametrize("levels", [40, 100_000])
def test_a_document_nested_too_deeply_is_refused_without_recursion(levels: int) -> None:
    task: dict[str, Any] = {"set": {"x": 1}}
    for _ in range(levels):
        task = {"do": [{"inner": task}]}
    (finding,) = check_document({"document": HEADER, "do": [{"outer": task}]})

    assert finding.message == f"is nested more than {MAX_DEPTH} levels deep; that is the most allowed"


def test_the_deepest_allowed_document_is_checked() -> None:
    task: dict[str, Any] = {"set": {"x": 1}}
    for _ in range(31):
        task = {"do": [{"inner": task}]}

    assert check_document({"document": HEADER, "do": [{"outer": task}]}) == ()


def test_values_that_repeat_themselves_exponentially_are_counted_and_refused() -> None:
    bomb: list[Any] = [1]
    for _ in range(60):  # what YAML aliases can do
        bomb = [bomb, bomb]

    (finding,) = check_document({"document": HEADER, "do": [], "x": bomb})

    assert finding == Finding("", f"has more than {MAX_VALUES} values; that is the most allowed")
