"""Describes parts of the schema in words: what a value must be, which properties it may have, which it must have."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tidegate.generation.dsl.schema import DslSchema

__all__ = ["DSL_VERSION", "describe", "likely_alternatives", "properties", "requirements"]

DSL_VERSION: Final = "a version 1.0.x of the DSL, such as 1.0.0"
_LABEL: Final = "1 to 63 letters, digits and hyphens, with no hyphen at either end"
_DESCRIPTIONS: Final = {
    "duration": 'an ISO 8601 duration such as PT5M or P1DT12H, or an object such as {"minutes": 5}',
    "uriTemplate": "an absolute URI such as https://example.com/{id}",
    "runtimeExpression": "a runtime expression ${ … } on one line",
    "endpoint": "an absolute URI such as https://example.com/{id}, a runtime expression ${ … }, or an object with uri",
    "WorkflowDSL": DSL_VERSION,
    "WorkflowVersion": "a semantic version such as 1.0.0",
    "WorkflowNamespace": _LABEL,
    "WorkflowName": _LABEL,
    "WithGRPCServiceHost": "a host name of at most 63 characters, which has no dots in version 1.0.0 of the DSL",
    "TaskTimeoutReference": "the name of a timeout",
    "TimeoutReference": "the name of a timeout",
    "RaiseErrorReference": "the name of an error",
    "RetryPolicyReference": "the name of a retry policy",
    "AnyEventUntilCondition": "a runtime expression",
    "InputFrom": "a runtime expression or an object",
    "OutputAs": "a runtime expression or an object",
    "ExportAs": "a runtime expression or an object",
    "uri-template": "a URI template such as /oauth2/{tenant}",
    "json-pointer": "a JSON pointer such as /do/0",
    "date-time": "a time such as 2025-01-31T12:00:00Z",
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
"""The requirement on a value, by the name of a definition, the title of a place, a format, or a type in the schema."""


def describe(schema: DslSchema, node: Mapping[str, Any]) -> str:
    """Returns what a part of the schema allows, such as "a string" or "an object with uri"."""
    reference = node.get("$ref", "").rpartition("/")[2]
    for name in (reference, node.get("title"), node.get("format")):
        if name in _DESCRIPTIONS:
            return _DESCRIPTIONS[name]
    merged = {**schema.layers(node)[-1], **node}
    if "type" in merged:
        needed = [_and(names) for names in requirements(schema, node) if names]
        described = _DESCRIPTIONS[merged["type"]]
        return f"{described} with {'one of: ' if len(needed) > 1 else ''}{', '.join(needed)}" if needed else described
    branches = merged.get("oneOf") or merged.get("anyOf") or merged.get("allOf", ())[:1]
    return ", or ".join(dict.fromkeys(describe(schema, branch) for branch in branches)) or "something else"


def properties(schema: DslSchema, node: Mapping[str, Any], value: Mapping[str, Any]) -> list[str]:
    """Returns the properties that are allowed; of alternatives, only those of the likely ones for the value."""
    names: list[str] = []
    for layer in schema.layers(node):
        names += layer.get("properties", ())
        for part in (*layer.get("allOf", ()), *likely_alternatives(schema, layer.get("oneOf", ()), value)):
            names += properties(schema, part, value)
    return list(dict.fromkeys(names))


def requirements(schema: DslSchema, node: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns the required properties, once for each alternative inside the part of the schema."""
    layers = schema.layers(node)
    own = tuple(name for layer in layers for name in layer.get("required", ()))
    branches = [branch for layer in layers for branch in layer.get("oneOf", ())]
    inner = [required for branch in branches for required in requirements(schema, branch)]
    return [own + required for required in inner] or [own]


def likely_alternatives(
    schema: DslSchema, branches: Sequence[Mapping[str, Any]], value: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Returns the alternatives that require most of the properties that a value has.

    An alternative that requires nothing comes before those of which the value has nothing.
    """
    ranks = [
        max(sum(name in value for name in required) if required else 0.5 for required in requirements(schema, branch))
        for branch in branches
    ]
    return [branch for branch, rank in zip(branches, ranks, strict=True) if rank == max(ranks)]


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
