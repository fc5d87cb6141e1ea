from collections.abc import Iterator
from typing import Any

import pytest

from support.workflow_documents import HEADER, published_examples, valid_documents
from tidegate.generation.dsl import check_document
from tidegate.generation.dsl.parts import divide
from tidegate.generation.dsl.schema import schema_for

_VALID = valid_documents()
_PUBLISHED = {
    f"{version} {name}": example
    for version in ("1.0.0", "1.0.3")
    for name, example in published_examples(version).items()
}
_UNUSED_DEFINITIONS = {"processResult", "asyncApiInboundMessage"}
"""The schema of 1.0.0 refers to them nowhere."""


@pytest.mark.parametrize("document", [*_VALID.values(), *_PUBLISHED.values()], ids=[*_VALID, *_PUBLISHED])
def test_a_valid_document_has_no_findings(document: dict[str, Any]) -> None:
    assert check_document(document) == ()


def test_all_examples_are_there() -> None:
    assert len(published_examples("1.0.0")) == 60
    assert len(published_examples("1.0.3")) == 66
    assert len(_VALID) >= 40


@pytest.mark.parametrize(
    "version", ["1.0.0", "1.0.0-alpha5", "1.0.0-alpha.1+build.7", "1.0.1", "1.0.3", "1.0.3-alpha1", "1.0.12"]
)
def test_every_version_1_0_is_accepted(version: str) -> None:
    assert check_document({"document": {**HEADER, "dsl": version}, "do": []}) == ()


@pytest.mark.parametrize("version", ["1.1.0", "0.9.0", "1.0", "1.0.x", "1.0.0-", "v1.0.0", "10.0.0", "", None, 1.0])
def test_other_versions_are_refused_once(version: object) -> None:
    (finding,) = check_document({"document": {**HEADER, "dsl": version}, "do": []})

    assert finding.path == "/document/dsl"
    assert finding.message.startswith("must be a version 1.0.x of the DSL, such as 1.0.0, not ")


@pytest.mark.parametrize(
    "task",
    [
        {"run": {"container": {"image": "alpine", "stdin": "${ .text }"}}},
        {"wait": "${ .delay }"},
        {"call": "http", "with": {"method": "get", "endpoint": "https://example.com", "headers": "${ .headers }"}},
        {"set": "${ .order }"},
    ],
)
def test_the_version_selects_the_schema(task: dict[str, Any]) -> None:
    def findings(version: str) -> int:
        header = {**HEADER, "dsl": version}
        return len(check_document({"document": header, "do": [{"a": task}]}))

    assert [findings(version) for version in ("1.0.0-alpha5", "1.0.0", "1.0.1", "1.0.3")] == [1, 1, 0, 0]


def test_together_they_use_every_property_of_the_schema_of_1_0_0() -> None:
    schema = schema_for({"document": HEADER})
    declared = {
        f"#/$defs/{name}{place}"
        for name, definition in schema.node(["$defs"]).items()
        if name not in _UNUSED_DEFINITIONS
        for place in _properties(definition, "")
    }
    used = {
        f"#{note['schemaLocation'].rpartition('#')[2]}/{name}"
        for document in (*_VALID.values(), *published_examples("1.0.0").values())
        for part in divide(document, schema)[0]
        for note in part.validator.evaluate(part.value).annotations()
        if isinstance(note["annotations"], list) and note["schemaLocation"].endswith("/properties")
        for name in note["annotations"]
    }

    assert declared - used == set()


def test_whole_numbers_may_be_written_as_fractions_as_json_schema_has_it() -> None:
    assert check_document({"document": HEADER, "do": [{"a": {"wait": {"seconds": 3.0}}}]}) == ()


def _properties(node: Any, path: str) -> Iterator[str]:
    """Yield the location of each property that a schema declares."""
    for name, inner in node.get("properties", {}).items():
        if inner:
            yield f"{path}/properties/{name}"
            yield from _properties(inner, f"{path}/properties/{name}")
    for keyword in ("oneOf", "anyOf", "allOf"):
        for position, inner in enumerate(node.get(keyword, ())):
            yield from _properties(inner, f"{path}/{keyword}/{position}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from _properties(node[keyword], f"{path}/{keyword}")
