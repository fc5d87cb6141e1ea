"""What the answer looks like on the wire: the flat envelope, or a schema of the caller's as structured output.

The workflow DSL is recursive and far over the limits of structured outputs (24 optional parameters, 16 unions, no
recursion; Claude Platform Docs, "Structured outputs", read 2026-11-24), so a workflow travels as JSON text in a flat
envelope, and is validated here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["ENVELOPE_SCHEMA", "open_envelope", "wire_schema"]

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
    """The structured output to ask for: the caller's schema in the form that the API takes, if it is within its limits.

    The envelope otherwise, and for workflows (None). What the API cannot check (numeric ranges, lengths, …) moves into
    descriptions; the answer is validated against the original.
    """
    from anthropic import transform_schema  # noqa: PLC0415  # the SDK takes long to import: only when it is used

    if schema is None or schema.get("type") != "object":
        return ENVELOPE_SCHEMA
    try:
        transformed = transform_schema(dict(schema))
    except ValueError:  # a part without a type: allowed in JSON Schema, not in structured outputs
        return ENVELOPE_SCHEMA
    return transformed if _is_within_limits(transformed) else ENVELOPE_SCHEMA


def open_envelope(text: str) -> tuple[Any, tuple[str, ...]]:
    """The document and the notes of an answer in the envelope.

    Raises:
        ValueError: the answer, or the text inside it, is not JSON, or not an envelope; the message says where.
    """
    envelope = _parse(text, "the answer")
    if not isinstance(envelope, dict) or not isinstance(envelope.get("workflow"), str):
        raise ValueError(  # noqa: TRY004  # what an answer holds is a value, not a type
            'the answer: must be an object with "workflow", a string, and "notes", a list'
        )
    notes = envelope.get("notes")
    return _parse(envelope["workflow"], "workflow"), tuple(map(str, notes)) if isinstance(notes, list) else ()


def _is_within_limits(schema: Mapping[str, Any]) -> bool:
    nodes = list(_subschemas(schema))
    if any("$ref" in node for node in nodes):
        return False  # may be recursive, which is not allowed
    optional = sum(
        len(set(node["properties"]) - set(node.get("required", ()))) for node in nodes if "properties" in node
    )
    unions = sum(1 for node in nodes if "anyOf" in node or isinstance(node.get("type"), list))
    return optional <= _MOST_OPTIONAL and unions <= _MOST_UNIONS


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: is not JSON: {error}") from None


def _subschemas(node: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for child in node.values():
            yield from _subschemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from _subschemas(child)
