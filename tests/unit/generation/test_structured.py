from typing import Any

import pytest

from tidegate.generation.structured import ENVELOPE_SCHEMA, open_envelope, wire_schema


def object_with(count: int, kind: dict[str, Any], *, required: bool) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    return {"type": "object", "properties": dict.fromkeys(names, kind), "required": names if required else []}


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (object_with(24, {"type": "string"}, required=False), True),
        (object_with(25, {"type": "string"}, required=False), False),
        (object_with(40, {"type": "string"}, required=True), True),
        (object_with(16, {"anyOf": [{"type": "string"}, {"type": "null"}]}, required=True), True),
        (object_with(17, {"anyOf": [{"type": "string"}, {"type": "null"}]}, required=True), False),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}, False),
        ({"type": "object", "properties": {"a": {"description": "no type"}}}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"properties": {}}, False),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "^a"}}}, True),
        ({"type": "object", "properties": {"anyOf": {"type": "string"}, "$ref": {"type": "null"}}}, True),
    ],
)
def test_limits_of_structured_outputs(schema: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    assert (wire_schema(schema) is not ENVELOPE_SCHEMA) == fits


STRING = {"type": "string"}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": STRING}, "additionalProperties": True},
        {"type": "object"},
        {"type": "object", "properties": {"a": STRING}, "required": ["b"]},
        {"type": "object", "properties": {"a": STRING}, "patternProperties": {"^x": STRING}},
        {"type": "object", "properties": {"a": STRING}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"allOf": [{"type": "object", "properties": {"a": STRING}}, {"type": "object", "properties": {"b": STRING}}]},
        {"type": ["string", "null"]},
        {"type": "array", "items": False},
        True,
    ],
)
def test_a_part_that_structured_outputs_would_narrow_or_cannot_say_makes_it_an_envelope(part: object) -> None:
    schema = {"type": "object", "properties": {"part": part, "other": STRING}, "required": ["part"]}
    assert wire_schema(schema) is ENVELOPE_SCHEMA


def test_workflows_travel_in_the_envelope() -> None:
    assert wire_schema(None) is ENVELOPE_SCHEMA


def test_open_envelope() -> None:
    assert open_envelope('{"workflow": "{\\"a\\": 1}", "notes": ["n"]}') == ({"a": 1}, ("n",))
    assert open_envelope('{"workflow": "[1]"}') == ([1], ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the answer: is not JSON"),
        ("7", "the answer: must be an object"),
        ('{"notes": []}', "the answer: must be an object"),
        ('{"workflow": "{", "notes": []}', "workflow: is not JSON"),
    ],
)
def test_open_envelope_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_envelope(text)
