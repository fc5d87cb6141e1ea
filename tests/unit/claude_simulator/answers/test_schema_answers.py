"""Instances of JSON Schemas, and unsupported schemas."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from claude_simulator.answers.pattern_answers import text_matching
from claude_simulator.answers.schema_answers import instance_of
from claude_simulator.errors import ApiError
from claude_simulator.requests.schema_limits import check_output_schema, check_schema


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
NAMED = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        (TEXT, "words"),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer", "maximum": -2.5}, -3),
        ({"type": "number", "exclusiveMinimum": 0}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, None),
        ({"enum": ["red", "green"]}, "red"),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"type": "array", "items": TEXT}, []),
        ({"type": "array", "items": TEXT, "minItems": 2}, ["words", "words"]),
        ({"type": "array", "prefixItems": [TEXT, {"type": "null"}]}, ["words", None]),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "minLength": 7}, "words.."),
        ({"type": "string", "maxLength": 2}, "wo"),
        (closed(a=TEXT, b=closed(c={"type": "integer"})), {"a": "words", "b": {"c": 0}}),
        ({"type": "object", "properties": {"optional": TEXT}}, {}),
        ({"required": ["anything"]}, {"anything": "words"}),
        ({"anyOf": [{"type": "integer"}, TEXT]}, 0),
        ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": "words"}),
        ({"allOf": [{"$ref": "#/$defs/A"}, {"required": ["b"]}], "$defs": {"A": NAMED}}, {"a": "words", "b": "words"}),
        ({"allOf": [NAMED, {"properties": {"n": {"type": "null"}}, "required": ["n"]}]}, {"a": "words", "n": None}),
        ({"type": "integer", "anyOf": [True]}, 0),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 0),
        ({}, "words"),
        ({"type": "string", "pattern": "^[A-Z]{2}[0-9]{6}$"}, "AA000000"),
        ({"type": "string", "pattern": "^[a-z]+$", "minLength": 3}, "aaa"),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "number", "minimum": 7, "maximum": 9, "multipleOf": 2}, 8),
        ({"type": "array", "items": TEXT, "minItems": 3, "uniqueItems": True}, ["words", "words 1", "words 2"]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True}, [0, 1]),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 2, "uniqueItems": True}, ["a", "b"]),
        ({"type": "array", "items": {"type": "null"}, "minItems": 1, "uniqueItems": True}, [None]),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
            {"key0": 0, "key1": 0},
        ),
    ],
)
def test_a_minimal_instance(schema: dict[str, Any], instance: Any) -> None:
    assert instance_of(schema, "words") == instance
    Draft202012Validator(schema).validate(instance)


def test_a_recursive_schema_gets_a_finite_instance() -> None:
    schema = {"$ref": "#/$defs/N", "$defs": {"N": closed(next={"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]})}}
    Draft202012Validator(schema).validate(instance_of(schema, "words"))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(foo|bar)+$", "foo"),
        (r"^\d{4}-\d{2}$", "0000-00"),
        (r"^[^a-z\d]x?$", "A"),
        (r"^[\w.%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$", "a@a.aa"),
        (r"^(?:x|y){2,3}?\u0041\x41\u{41}\n\.$", "xxAAA\n."),
        (r"^(?<year>\d)[\s]\S\W\D.$", "0 a-aa"),
        (r"^[a\-z\]]\b\p{Lu}\P{Lu}\p{N}$", "aAa0"),
        (r"^(?!x)(?<!y)a$", "a"),
        ("[^ -~]", None),
        (r"(a)\1", None),
        ("(?=a)a", None),
        ("(a", None),
        ("a)", None),
        ("[a", None),
        ("a{2000}", None),
        ("((a{1000}){1000}){1000}", None),
        ("a{x}", None),
        (r"\p{L", None),
        ("\\", None),
    ],
)
def test_a_text_that_matches_a_pattern(pattern: str, text: str | None) -> None:
    assert text_matching(pattern) == text


def test_a_matching_text_has_the_minimum_length_if_the_pattern_allows() -> None:
    assert text_matching("^[ab]*c?$", 5) == "aaaac"
    assert text_matching("^ab$", 3) is None


LEAVES = st.sampled_from(
    [
        TEXT,
        {"type": "integer"},
        {"type": "number", "minimum": 3},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"enum": [3, "x"]},
        {"const": None},
        {"$ref": "#/$defs/Shared"},
        {"type": "string", "format": "email"},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.dictionaries(st.sampled_from("abcdef"), inner, max_size=3).map(lambda properties: closed(**properties))
        | inner.map(lambda items: {"type": "array", "items": items, "minItems": 1})
        | st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices})
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_instances_are_valid(schema: dict[str, Any]) -> None:
    complete = {**schema, "$defs": {"Shared": closed(x={"type": "integer"})}}

    Draft202012Validator(complete).validate(instance_of(complete, "words"))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "minItems": 900, "items": {"type": "array", "minItems": 900}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_a_schema_without_a_small_instance_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        instance_of(schema, "words")

    assert caught.value.status == 400


def reference(number: int) -> dict[str, str]:
    return {"$ref": f"#/$defs/D{number}"}


DOUBLED = {
    **reference(0),
    "$defs": {
        **{f"D{number}": closed(a=reference(number + 1), b=reference(number + 1)) for number in range(13)},
        "D13": TEXT,
    },
}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object"}, "s: for 'object' type, 'additionalProperties' must be explicitly set to false"),
        (closed(n={"type": "integer", "minimum": 1}), "s.properties.n: property 'minimum' is not supported"),
        (closed(t={"type": "string", "maxLength": 1}), "s.properties.t: property 'maxLength' is not supported"),
        (
            closed(a={"type": "array", "minItems": 2}),
            "s.properties.a.minItems: 2 was given; 0 or 1 is supported",
        ),
        (closed(a={"oneOf": [TEXT]}), "s.properties.a: property 'oneOf' is not supported"),
        (closed(a={"type": "array", "items": True}), "s.properties.a.items: an object (a JSON Schema) is allowed"),
        (
            {**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": closed(a={"$ref": "#/$defs/A"})}},
            "s.properties.a.properties.a.$ref: '#/$defs/A' refers to itself; recursive schemas are not supported",
        ),
        (
            {**closed(), "properties": {f"p{number}": TEXT for number in range(25)}},
            "s: 25 optional properties; at most 24 are allowed",
        ),
        (
            closed(**{f"p{number}": {"anyOf": [TEXT]} for number in range(17)}),
            "s: 17 union-typed properties; at most 16 are allowed",
        ),
        (DOUBLED, "s: more than 5000 parts; schema is too complex"),
        ({"description": "x" * 50_000}, "s: more than 50000 characters; schema is too complex"),
        ({"pattern": "("}, 's.pattern: "(" is not a "regex"'),
        ({"type": "thing"}, "s.type: \"thing\" is not valid under any of the schemas listed in the 'anyOf' keyword"),
    ],
)
def test_unsupported_output_schemas_are_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_output_schema(schema, "s")

    assert caught.value.message == message


def test_references_and_lists_are_followed() -> None:
    check_output_schema({**closed(a={"type": "array", "items": {"$ref": "#/$defs/A"}}), "$defs": {"A": TEXT}}, "s")


def test_a_reference_may_be_any_text() -> None:
    check_schema({"$id": "::", "properties": {"a": {"$ref": "%%"}}}, "s")


def test_tools_that_are_not_strict_may_have_any_valid_schema() -> None:
    check_schema({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}, "s")
