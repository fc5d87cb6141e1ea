"""The validation task by task beside the whole schema, and the places of the schema that the code relies on."""

import copy
import json
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest

from support.workflow_documents import HEADER, faulty_documents, published_examples, valid_documents
from tidegate.generation.dsl import check_document
from tidegate.generation.dsl.parts import _TASK_LISTS, Part, divide
from tidegate.generation.dsl.schema import DslSchema, schema_for
from tidegate.generation.dsl.schema_errors import explain
from tidegate.generation.dsl.schema_words import _DESCRIPTIONS
from tidegate.generation.dsl.semantics import flow, references, texts, times

_MUTANTS = 2_000
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1.5, 3.0, -1, "", "x", "a b", "${ .a }", "${", "/a/b", "1.0.0", "grpc", [], {}, ["a"], [{}]),
    *("PT5M", "P1W", "https://a.example.com/{b}", "https://a b", "2025-01-31T12:00:00Z", {"a": 1}, {"seconds": 1}),
    *({"use": "x"}, {"with": {}}, {"set": {"a": 1}}, [{"a": {"set": {"a": 1}}}]),
)

_MINIMAL: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"task": {"oneOf": []}, "taskBase": {}},
}

_Path = tuple[str | int, ...]


def _official(version: str) -> Any:
    package = files("tidegate.generation.dsl") / "schemas" / f"{version}.json"
    return json.loads(package.read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.3"])
def test_task_by_task_gives_the_verdicts_of_the_whole_schema(version: str) -> None:
    whole = jsonschema_rs.Draft202012Validator(_official(version), validate_formats=True, offline=True)
    valid = [*valid_documents().values(), *published_examples(version).values()]
    faulty = [fault.document for fault in faulty_documents("schema-breaks.yaml")]
    mutants = _mutants(valid, random.Random(20251131))  # noqa: S311  # for variety, not secrecy
    documents = [*copy.deepcopy([*valid, *faulty]), *mutants]
    verdicts = []
    for document in documents:
        if isinstance(document.get("document"), dict):
            document["document"]["dsl"] = version
        verdicts.append(whole.is_valid(document))
        assert _fits(document) == verdicts[-1], document

    assert 500 < sum(verdicts) < len(verdicts) - 500, "there should be both valid and broken documents"


@pytest.mark.parametrize("version", ["1.0.0", "1.0.3"])
def test_the_lists_of_tasks_are_where_the_schema_has_them(version: str) -> None:
    schema = _official(version)
    declared: set[tuple[str, ...]] = set()
    for name, definition in {"": schema, **schema["$defs"]}.items():
        declared |= {(name, *place) for place in _places_of_tasks(definition, ())}

    assert declared == {
        *(
            (f"{kind}Task" if kind else "", *keys)
            for kind, ways in _TASK_LISTS.items()
            for keys in ways
            if kind not in {"asyncapi", "listen"}
        ),
        *(("", "use", "functions"), ("extension", "before"), ("extension", "after"), ("subscriptionIterator", "do")),
        *(("taskList",),),
    }
    assert _TASK_LISTS["listen"] == (("foreach", "do"),)
    assert _TASK_LISTS["asyncapi"] == (("with", "subscription", "foreach", "do"),)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.3"])
def test_the_titles_that_give_a_place_its_meaning_are_in_the_schema(version: str) -> None:
    schema = _official(version)
    titles = {value["title"] for value in _objects(schema) if isinstance(value.get("title"), str)}
    known = {*texts._EXPRESSIONS, *texts._NOT_EVALUATED, *texts._PROGRAMS, *references._COMPONENTS, *times._DURATIONS}
    known |= {"ForTask", "SubscriptionIterator", "TryTaskCatch", *(key for key in _DESCRIPTIONS if key[0].isupper())}
    if version == "1.0.0":
        known -= {"DurationLiteral", "McpStdioTransport"}  # added later

    assert known <= titles
    assert {key for key in _DESCRIPTIONS if not key[0].isupper()} <= (
        {*schema["$defs"], "string", "integer", "boolean", "array", "object"}
        | {value["format"] for value in _objects(schema) if isinstance(value.get("format"), str)}
    )


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (
            {"oneOf": [{"properties": {"a": {}}, "required": ["a"], "minProperties": 2}, {}]}
            | {"unevaluatedProperties": False},
            {"a": 1},
            "does not fit the schema of the DSL",
        ),
        ({"contains": {"const": 1}}, [2], "must be something else, not a list"),
        ({"oneOf": [{"minLength": 1}, {"maxLength": 9}]}, "both", 'must be something else, not "both"'),
        (
            {"oneOf": [{"minProperties": 1}, {}]},
            {"a": 1},
            "has the properties of several alternatives, but may have only one of them",
        ),
    ],
)
def test_an_error_that_no_schema_has_so_far_is_still_a_finding(
    schema: dict[str, Any], value: object, message: str
) -> None:
    errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(value)

    assert [str(finding) for finding in explain(errors, DslSchema({**_MINIMAL, **schema}), "/do/0/a")] == [
        f"/do/0/a: {message}"
    ]


@pytest.mark.parametrize("task", [{"set": {"x": 1}}, {"set": {}}, {"wait": "soon", "x": 1}])
def test_the_work_is_linear_in_the_depth(task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    work = {depth: _work(_nested(task, depth), monkeypatch) for depth in (4, 8, 16)}

    assert work[16] - work[8] == 2 * (work[8] - work[4])


def _nested(task: dict[str, Any], depth: int) -> dict[str, Any]:
    for _ in range(depth):
        task = {"try": [{"inner": task}], "catch": {}}
    return {"document": HEADER, "do": [{"outer": task}]}


def _work(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many parts, titled places, errors and lists of tasks a check of a document looks at."""
    count = 0

    def counted(errors: Any, schema: DslSchema, path: str) -> Any:
        nonlocal count
        errors = list(errors)
        count += 1 + len(errors)
        return explain(errors, schema, path)

    def of(reach: Any, tasks: Any) -> Any:
        nonlocal count
        count += 1
        return reach_of(reach, tasks)

    def places(part: Part) -> Any:
        nonlocal count
        found = places_of(part)
        count += len(found)
        return found

    places_of, reach_of = vars(Part)["places"].func, flow._Reach.of
    with monkeypatch.context() as patch:
        patch.setattr("tidegate.generation.dsl.check.explain", counted)
        patch.setattr(flow._Reach, "of", of)
        patch.setattr(Part, "places", property(places))
        check_document(document)
    return count


def _fits(document: dict[str, Any]) -> bool:
    parts, unknown_tasks = divide(document, schema_for(document))
    return not unknown_tasks and all(part.validator.is_valid(part.value) for part in parts)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(item)


def _places_of_tasks(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the properties under which a definition holds a task or a list of tasks."""
    if node.get("$ref") in {"#/$defs/task", "#/$defs/taskList"}:
        yield path
    for name, inner in node.get("properties", {}).items():
        yield from _places_of_tasks(inner, (*path, name)) if inner else ()
    for keyword in ("oneOf", "anyOf", "allOf"):
        for inner in node.get(keyword, ()):
            yield from _places_of_tasks(inner, path)
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from _places_of_tasks(node[keyword], path)


def _mutants(samples: list[dict[str, Any]], randomness: random.Random) -> list[dict[str, Any]]:
    keys = sorted({key for sample in samples for path in _paths(sample) for key in path if isinstance(key, str)})
    return [_mutant(randomness.choice(samples), keys, randomness) for _ in range(_MUTANTS)]


def _mutant(sample: dict[str, Any], keys: list[str], randomness: random.Random) -> dict[str, Any]:
    """Return a copy with one property or item removed, replaced, added or renamed."""
    mutant = copy.deepcopy(sample)
    *way, last = randomness.choice([path for path in _paths(mutant) if path])
    parent: Any = mutant
    for key in way:
        parent = parent[key]
    value = copy.deepcopy(randomness.choice(_VALUES))
    change = randomness.choice(("remove", "replace", "add", "rename"))
    if change == "remove":
        del parent[last]
    elif change == "replace" or not isinstance(parent, dict):
        parent[last] = value
    elif change == "add":
        parent[randomness.choice(keys)] = value
    else:
        parent[randomness.choice(keys)] = parent.pop(last)
    return mutant


def _paths(value: object, path: _Path = ()) -> Iterator[_Path]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _paths(item, (*path, at))
