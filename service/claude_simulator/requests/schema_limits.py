"""Checks of the JSON Schemas for structured output and strict tools.

Source: Claude Platform Docs "Structured outputs": no recursion, no numeric or length limits, `minItems` 0 or 1, every
object closed, at most 24 optional and 16 union-typed properties.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator

from claude_simulator.errors import invalid_request

MAX_OPTIONAL_PROPERTIES: Final = 24
MAX_UNION_PROPERTIES: Final = 16

_MAX_PARTS: Final = 5_000
_MAX_CHARACTERS: Final = 50_000  # checking as many takes about a second
_UNSUPPORTED: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "oneOf",
    "not",
    "if",
    "patternProperties",
)
_META_SCHEMA: Final = Draft202012Validator(
    {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    validate_formats=True,  # of "pattern": a regular expression
    formats={"uri": lambda _: True, "uri-reference": lambda _: True},
)
"""Validates schemas against the built-in meta-schema. Any text is accepted as a URI."""


def resolve_reference(root: Mapping[str, Any], reference: object, path: str) -> Any:
    """Resolves a local `$ref` such as `#/$defs/Address`.

    Raises:
        ApiError: 400, it is not local, or does not resolve.
    """
    target: Any = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise invalid_request(f"{path}.$ref: {reference!r} was given; a reference that starts with '#' is allowed")
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or key not in target:
            raise invalid_request(f"{path}.$ref: {reference!r} points at nothing in the schema")
        target = target[key]
    return target


def check_schema(schema: Mapping[str, Any], path: str) -> None:
    """Refuses an invalid JSON Schema (2020-12).

    Raises:
        ApiError: 400; the message names the place and the problem.
    """
    schema_json = json.dumps(schema)
    if len(schema_json) > _MAX_CHARACTERS:
        raise invalid_request(f"{path}: more than {_MAX_CHARACTERS} characters; schema is too complex")
    message = _first_error(schema_json)
    if message is not None:
        raise invalid_request(f"{path}{message}")


@lru_cache(maxsize=256)  # the same few schemas come with every request
def _first_error(schema_json: str) -> str | None:
    for error in _META_SCHEMA.iter_errors(json.loads(schema_json)):
        place = "".join(f".{part}" for part in error.instance_path)
        return f"{place}: {error.message}"
    return None


def check_output_schema(schema: Mapping[str, Any], path: str) -> None:
    """Refuses a schema that structured output does not support.

    Raises:
        ApiError: 400; the message starts with the path of the offending part.
    """
    check_schema(schema, path)
    optional, unions = 0, 0
    for number, (place, part) in enumerate(_parts(schema, schema, path, ())):
        if number >= _MAX_PARTS:
            raise invalid_request(f"{path}: more than {_MAX_PARTS} parts; schema is too complex")
        unsupported = next((keyword for keyword in _UNSUPPORTED if keyword in part), None)
        if unsupported is not None:
            raise invalid_request(f"{place}: property '{unsupported}' is not supported")
        if part.get("minItems", 0) not in (0, 1):
            raise invalid_request(f"{place}.minItems: {part['minItems']!r} was given; 0 or 1 is supported")
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            raise invalid_request(f"{place}: for 'object' type, 'additionalProperties' must be explicitly set to false")
        properties = part.get("properties", {})
        optional += len(properties.keys() - set(part.get("required", ())))
        unions += sum(1 for value in properties.values() if _is_union(value))
    if optional > MAX_OPTIONAL_PROPERTIES:
        raise invalid_request(f"{path}: {optional} optional properties; at most {MAX_OPTIONAL_PROPERTIES} are allowed")
    if unions > MAX_UNION_PROPERTIES:
        raise invalid_request(f"{path}: {unions} union-typed properties; at most {MAX_UNION_PROPERTIES} are allowed")


def _is_union(schema: object) -> bool:
    return isinstance(schema, Mapping) and ("anyOf" in schema or isinstance(schema.get("type"), list))


def _parts(
    root: Mapping[str, Any], schema: object, path: str, references: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schema and its subschemas, depth first; references are followed."""
    if not isinstance(schema, Mapping):  # true and false are valid schemas, but not supported
        raise invalid_request(f"{path}: an object (a JSON Schema) is allowed")
    reference = schema.get("$ref")
    if reference is not None:
        if reference in references:
            raise invalid_request(f"{path}.$ref: {reference!r} refers to itself; recursive schemas are not supported")
        yield from _parts(root, resolve_reference(root, reference, path), path, (*references, reference))
        return
    yield path, schema
    for name, part in (schema.get("properties") or {}).items():
        yield from _parts(root, part, f"{path}.properties.{name}", references)
    for index, part in enumerate(schema.get("anyOf") or schema.get("allOf") or ()):
        yield from _parts(root, part, f"{path}.{index}", references)
    if "items" in schema:
        yield from _parts(root, schema["items"], f"{path}.items", references)
