from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.workflow_documents import HEADER
from tidegate.generation.dsl import check_document

_RAISE = {"raise": {"error": {"type": "https://example.com/errors/x", "status": 500}}}
_WAIT = {"wait": "PT1S"}
_NAMES = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    "first",
    [
        _WAIT,
        _WAIT | {"then": "continue"},
        _WAIT | {"then": "next"},
        _WAIT | {"then": "end", "if": ".x"},  # skipped tasks go on
        _RAISE | {"if": ".x"},
        {"do": [{"inner": _WAIT | {"then": "exit"}}]},
        {"do": [{"inner": _RAISE | {"if": ".x"}}]},
        {"do": []},
        {"for": {"in": ".x"}, "do": [{"inner": _RAISE}]},  # there may be nothing to iterate over
        {"try": [{"inner": _RAISE}], "catch": {}},
        {"try": [{"inner": _RAISE}], "catch": {"do": [{"handle": _WAIT}]}},
        {"try": [{"inner": _WAIT}], "catch": {"do": [{"handle": _RAISE}]}},
        {"switch": [{"x": {"when": ".x", "then": "end"}}]},
        {"switch": [{"x": {"then": "continue"}}]},
        {"switch": [{"x": {"when": ".x", "then": "end"}}, {"y": {"then": "next"}}]},
    ],
)
def test_the_next_task_is_reached(first: dict[str, Any]) -> None:
    assert _unreachable([{"first": first}, {"next": _WAIT}]) == []


@pytest.mark.parametrize(
    "first",
    [
        _WAIT | {"then": "end"},
        _WAIT | {"then": "exit"},
        _WAIT | {"then": "first"},
        _RAISE,
        _RAISE | {"then": "next"},
        {"do": [{"inner": _RAISE}]},
        {"do": [{"inner": _WAIT | {"then": "end"}}]},
        {"do": [{"inner": {"do": [{"deeper": _RAISE}]}}]},
        {"do": [{"inner": _WAIT | {"then": "inner"}}]},
        {"try": [{"inner": _RAISE}], "catch": {"do": [{"handle": _RAISE}]}},
        {"switch": [{"x": {"when": ".x", "then": "end"}}, {"y": {"then": "exit"}}]},
        {"switch": [{"y": {"then": "end"}}], "then": "next"},
    ],
)
def test_the_next_task_is_not_reached(first: dict[str, Any]) -> None:
    assert _unreachable([{"first": first}, {"next": _WAIT}]) == ["/do/1/next"]


def test_branches_of_a_fork_all_start() -> None:
    fork = {"fork": {"branches": [{"left": _RAISE}, {"right": _WAIT | {"then": "end"}}, {"last": _WAIT}]}}

    assert _unreachable([{"all": fork}]) == []


def test_an_unknown_target_does_not_make_the_rest_unreachable() -> None:
    document = {"document": HEADER, "do": [{"a": _WAIT | {"then": "typo"}}, {"b": _WAIT}]}

    assert [finding.path for finding in check_document(document)] == ["/do/0/a/then"]


@settings(deadline=None)  # jq is loaded on first use
@given(thens=st.lists(st.sampled_from([*_NAMES, "continue", "exit", "end"]), min_size=1, max_size=len(_NAMES)))
def test_exactly_the_tasks_that_a_run_can_visit_are_reachable(thens: list[str]) -> None:
    names = _NAMES[: len(thens)]
    tasks = [{name: {"set": {"x": 1}, "then": then}} for name, then in zip(names, thens, strict=True)]
    next_names = [*names[1:], None]
    visited: list[str | None] = [None]  # no task: the end
    at: str | None = "a"
    while at not in visited:
        visited.append(at)
        position = names.index(at)
        then = thens[position]
        ways = {"continue": next_names[position], "exit": None, "end": None}
        at = then if then in names else ways.get(then, next_names[position])

    assert _unreachable(tasks) == [f"/do/{i}/{name}" for i, name in enumerate(names) if name not in visited]


def _unreachable(tasks: list[dict[str, Any]]) -> list[str]:
    findings = check_document({"document": HEADER, "do": tasks})
    return [finding.path for finding in findings if finding.message.startswith("can never run")]
