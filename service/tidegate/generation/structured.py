"""Chooses the structured output to ask for: a flat envelope, or the caller's schema.

The workflow DSL is recursive and far over the limits of structured outputs (24 optional parameters, 16 unions, no
recursion; Claude Platform Docs, "Structured outputs", read 2026-11-24). Therefore a workflow is sent as JSON text in a
flat envelope, and Tidegate validates it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tidegate.generation.caller_schema.keywords import subschemas

__all__ = ["ENVELOPE_SCHEMA", "open_envelope", "parse_json", "wire_schema"]

ENVELOPE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "workflow": {"type": "string", "description": "The document as JSON text."},
        "notes": {"type": "array", "items": {"type": "string"}, "description": "What had to be assumed."},
    },
    "required": ["workflow", "notes"],
    "additionalProperties": False,
}

_MOST_OPTIONAL: Final = 24
_MOST_UNIONS: Final = 16


def wire_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Returns the schema of the structured output: the caller's, in the form that the API accepts, or the envelope.

    The envelope is for workflows (None), for schemas beyond the limits of structured outputs, and for schemas that
    would allow less in the API's form. Constraints that the API cannot check, such as lengths, move into descriptions.
    The answer is validated against the original schema.
    """
    if schema is None or schema.get("type") != "object":
        return ENVELOPE_SCHEMA
    if any(_would_be_narrowed(part) for part in _all_schemas(schema)):
        return ENVELOPE_SCHEMA
    from anthropic import transform_schema  # noqa: PLC0415  # the SDK takes long to import: only when it is used

    try:
        transformed = transform_schema(dict(schema))
    except (ValueError, TypeError, AssertionError):  # parts that JSON Schema allows and structured outputs do not
        return ENVELOPE_SCHEMA
    return transformed if _is_within_limits(transformed) else ENVELOPE_SCHEMA


def open_envelope(text: str) -> tuple[Any, tuple[str, ...]]:
    """Returns the document and the notes of an answer in the envelope.

    Raises:
        ValueError: the answer is not an envelope, or it or the text inside it is not JSON. The message says which.
    """
    envelope = parse_json(text, "the answer")
    if not isinstance(envelope, dict) or not isinstance(envelope.get("workflow"), str):
        raise ValueError(  # noqa: TRY004  # the content of an answer is a value, not a type
            'the answer: must be an object with "workflow", a string, and "notes", a list'
        )
    notes = envelope.get("notes")
    return parse_json(envelope["workflow"], "workflow"), tuple(map(str, notes)) if isinstance(notes, list) else ()


def parse_json(text: str, where: str) -> Any:
    """Parses JSON.

    Raises:
        ValueError: it is not JSON, nested too deeply, or holds a lone surrogate. The message starts with `where`.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: holds a lone surrogate, which is no character") from None
    except ValueError as error:
        raise ValueError(f"{where}: is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{where}: is nested too deeply") from None
    return value


_NARROWED: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "allOf"})
"""References may be recursive, which is not allowed. The API closes each part of `allOf`, so no object fits two."""

_NARROWED_OBJECTS: Final = frozenset(
    {"anyOf", "oneOf", "if", "patternProperties", "unevaluatedProperties"}
    | {"dependentSchemas", "dependentRequired", "dependencies"}
)
"""Keywords that allow or require properties which are not listed in `properties`."""


def _would_be_narrowed(schema: Mapping[str, Any]) -> bool:
    """Whether the form that the API accepts would refuse documents that the schema allows on purpose.

    In that form, an object has only the listed properties. A schema that lists some, and does not say whether there may
    be more, is assumed to mean the same.
    """
    if not _NARROWED.isdisjoint(schema):
        return True
    if schema.get("type") != "object":
        return False
    listed = schema.get("properties", {})
    more = schema.get("additionalProperties")
    return (
        not _NARROWED_OBJECTS.isdisjoint(schema)
        or (more is not None and more is not False)
        or (more is None and not listed)
        or not set(schema.get("required", ())) <= set(listed)
    )


def _is_within_limits(schema: Mapping[str, Any]) -> bool:
    nodes = list(_all_schemas(schema))
    optional = sum(len(set(node.get("properties", ())) - set(node.get("required", ()))) for node in nodes)
    unions = sum(1 for node in nodes if "anyOf" in node)
    return optional <= _MOST_OPTIONAL and unions <= _MOST_UNIONS


def _all_schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for inner in subschemas(schema):
        yield from _all_schemas(inner.schema)
