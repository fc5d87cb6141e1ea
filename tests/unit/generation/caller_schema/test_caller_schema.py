"""A caller's own JSON Schema: what is refused, what is found, and that no check takes long."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.errors import ConfigurationError
from tidegate.generation.caller_schema.schema import CallerSchema
from tidegate.generation.caller_schema.work import MOST_UNITS, SchemaWork

DRAFT = "https://json-schema.org/draft/2020-12/schema"
CATASTROPHIC = "^([a-z: ]+)+$"


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def doubling(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{at}": {"allOf": [ref(f"d{at + 1}")] * 2} for at in range(levels)}
    return {"$defs": {**defs, f"d{levels}": {"type": "string", "minLength": 3}}, **ref("d0")}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def units(schema: dict[str, Any], document: object) -> float:
    return SchemaWork(schema, DRAFT).units(document)


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "left": ref("node"), "right": ref("node")},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
    **ref("node"),
}


def tree(depth: int) -> dict[str, Any]:
    return {"name": "n"} if depth == 0 else {"name": "n", "left": tree(depth - 1), "right": tree(depth - 1)}


@pytest.mark.parametrize(
    ("schema", "document", "finding"),
    [
        ({"properties": {"a/b": {"minimum": 1}}}, {"a/b": 0}, "/a~1b: 0 is less than the minimum of 1"),
        ({"items": {"type": "string"}}, ["a", 3], '/1: 3 is not of type "string"'),
        ({"type": "object"}, [1], 'document: [1] is not of type "object"'),
        ({"type": ["string", "null"]}, 3, 'document: 3 is not of types "null", "string"'),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], "/1: False schema does not allow 1"),
        ({"required": ["a"]}, {}, 'document: "a" is a required property'),
        ({"pattern": "^a+$"}, "b", 'document: "b" does not match "^a+$"'),
        (TREE, {"name": "a", "left": {"name": 1}}, '/left/name: 1 is not of type "string"'),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}, 3, "3"),
        ({}, float("nan"), "document: must be a JSON value, not nan"),
    ],
)
def test_findings_name_the_place_and_the_fault(schema: dict[str, Any], document: object, finding: str) -> None:
    (found,) = CallerSchema(schema).findings(document)
    assert finding in found


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({}, [1]),
        ({"type": ["string", "null"]}, None),
        ({"properties": {"a": True}, "additionalProperties": {"type": "integer"}}, {"a": "x", "b": 1}),
        ({"const": {"$ref": "#/nope"}}, {"$ref": "#/nope"}),
        ({"enum": [{"$ref": "#/nope"}]}, {"$ref": "#/nope"}),
        ({"properties": {"$ref": {"type": "string"}}}, {"$ref": "#/nope"}),
        ({"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}, "12.50"),  # pydantic's for Decimal
        ({"$id": "https://example.com/a", "$defs": {"b": {"$id": "b", "type": "null"}}, "$ref": "b"}, None),
        ({"$defs": {"b": {"$anchor": "here", "type": "null"}}, "$ref": "#here"}, None),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}, {"a": 1, "b": 2}),
        ({"$defs": {"any": True}, "$ref": "#/$defs/any"}, 3),
        ({"allOf": [{"pattern": "^a"}, {"pattern": "^a"}]}, "ab"),
        ({"items": {"type": "integer"}}, [1] * 5_000),
        (TREE, tree(9)),
    ],
)
def test_valid_documents_have_no_findings(schema: dict[str, Any], document: object) -> None:
    assert CallerSchema(schema).findings(document) == ()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, r"schema\.properties\.a\.type: got 'strin'"),
        ({"anyOf": [{"minimum": "3"}]}, r"schema\.anyOf\[0\]\.minimum: got '3'"),
        ({"$ref": "#/nowhere"}, r"schema\.\$ref: got '#/nowhere', allowed is a reference to a part of the same schema"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}, "got 'http://127.0.0.1:9/schema.json'"),
        ({"$ref": DRAFT}, "a reference to a part of the same schema"),
        ({"$ref": "#"}, r"schema\.\$ref: got 'references that come back"),
        ({"$defs": {"a": {"anyOf": [{"type": "null"}, ref("b")]}, "b": {"not": ref("a")}}}, "come back"),
        (
            {"$schema": "https://example.com/mine"},
            r"schema\.\$schema: got 'https://example.com/mine', allowed is one of",
        ),
        ({"$schema": 7}, r"schema\.\$schema: got 7"),
        ({"pattern": "("}, r"schema\.pattern: got '\('"),
        ({"pattern": "a{1000}{1000}"}, r"schema\.pattern: got 'a\{1000\}\{1000\}'"),
        ({"pattern": "(?=a)(a{99}){99}"}, r"schema\.pattern"),
        ({"title": "\ud800"}, "a JSON Schema"),
        ({"$id": "::"}, "a JSON Schema: Invalid URI reference '::': unexpected character at index 0$"),
        (nested(60), "more than 50 levels of nesting"),
        (doubling(40), "checks of one value, references followed', allowed is at most 1,000"),
        ({"properties": {str(at): {"type": "null"} for at in range(2_000)}}, "more than 2,000 subschemas"),
        ({"allOf": [{"pattern": f"^{at}$"} for at in range(501)]}, "patterns that are too large together"),
        ({"pattern": "[a-z]" * 401}, "at most 2,000 characters"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_what_is_allowed(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CallerSchema(schema)


def test_a_pattern_takes_time_linear_in_the_text() -> None:
    # With a backtracking engine this answer would take longer than the universe has existed.
    (finding,) = CallerSchema({"pattern": CATASTROPHIC}).findings("a" * 4_000 + "!")
    assert CATASTROPHIC in finding
    fixed, short, long = (units({"pattern": CATASTROPHIC}, "a" * length) for length in (0, 1_000, 2_000))
    assert long - fixed == pytest.approx(2 * (short - fixed))


def test_look_around_gives_up_after_some_steps_back() -> None:
    schema = CallerSchema({"pattern": r"^(?=a)(a|aa)+\1$"})
    (finding,) = schema.findings("a" * 4_000 + "!")
    assert "Max limit for backtracking count exceeded" in finding
    assert "too large" in schema.findings("a" * 10_000 + "!")[0]


def test_references_that_double_at_each_step_are_counted_not_followed() -> None:
    assert units(doubling(5), "abc") == pytest.approx(2 * (2**6 - 1), rel=0.01)  # the schemas and the references
    # 2ⁿ of them for a document n levels deep, by a schema that is not recursive at one place.
    both = {"properties": {"a": {"allOf": [ref("n"), ref("n")]}}}
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}
    schema = CallerSchema({"$defs": {"n": both}, **ref("n")})
    assert schema.findings(deep) == ("document: is too large to be checked against this schema; make it much smaller",)
    assert schema.findings({"a": {"a": {}}}) == ()


def test_names_and_items_are_counted_too() -> None:
    many = 30 * MOST_UNITS
    assert units({"propertyNames": {"pattern": "^[0-9]*$"}}, {str(at): 1 for at in range(MOST_UNITS)}) > MOST_UNITS
    assert units({"patternProperties": {"^(\\w{500})$": {}}}, {"x" * many: 1}) > MOST_UNITS
    assert units({"items": {"type": "integer"}}, [1] * MOST_UNITS) > MOST_UNITS
    assert units({"allOf": [{"items": {"type": "integer"}}, {"items": {}}]}, [1] * (MOST_UNITS - 9)) > MOST_UNITS
    assert units({"contains": {"type": "integer"}}, []) < 2
    assert units({"enum": ["x" * 50_000]}, 1) > 50


def test_many_errors_of_a_large_document_become_the_first_one() -> None:
    schema = CallerSchema({"items": {"type": "string", "minLength": 2}})
    assert len(schema.findings([1] * 20)) == 20
    assert len(schema.findings([1] * 900)) == 50
    assert len(schema.findings([1] * 3_000)) == 1


def test_a_long_value_is_cut_out_of_the_message() -> None:
    (finding,) = CallerSchema({"type": "null"}).findings(["x" * 5_000])
    assert finding.endswith('is not of type "null"')
    assert len(finding) < 400


def test_a_dynamic_reference_is_counted_for_all_that_it_may_mean() -> None:
    schema = {
        "$dynamicAnchor": "node",
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$dynamicRef": "#node"}}},
    }
    document: dict[str, Any] = {}
    for _ in range(20):
        document = {"children": [document]}
    assert units(schema, document) < 200
    assert CallerSchema(schema).findings(document) == ()
    assert CallerSchema(schema).findings({"children": [3]}) == ('/children/0: 3 is not of type "object"',)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
schemas = st.recursive(
    st.sampled_from(({"type": "string"}, {"minimum": 3}, {"pattern": "^a"}, {"$ref": "#/$defs/d"}, True, False, {})),
    lambda inner: (
        st.dictionaries(st.sampled_from(("items", "not", "additionalProperties", "contains")), inner, max_size=3)
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3)})
    ),
    max_leaves=6,
)


@given(schema=schemas, defined=schemas, document=json_values)
def test_verdicts_are_those_of_another_validator(schema: Any, defined: Any, document: object) -> None:
    from jsonschema import Draft202012Validator

    whole = {"$defs": {"d": defined}, "allOf": [schema]}
    try:
        ours = CallerSchema(whole)
    except ConfigurationError as error:
        if "come back" not in str(error):
            raise
        return
    assert (ours.findings(document) == ()) == Draft202012Validator(whole).is_valid(document), json.dumps(whole)
