"""A JSON Schema of the caller's own, in place of the workflow DSL."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

from tidegate.core.errors import ConfigurationError

__all__ = ["own_schema_validator"]

_DEEPEST: Final = 50
"""Levels of nesting: far more than a model would follow, far less than what exhausts the stack."""


def own_schema_validator(schema: Mapping[str, Any]) -> Validator:
    """A validator for documents under a caller's schema. It never looks anything up outside of the schema.

    Raises:
        ConfigurationError: not a valid JSON Schema (draft 2020-12 unless it says otherwise), nested over 50 deep, or
            with a reference to something that is not inside it.
    """
    _check_depth(schema, 0)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except SchemaError as error:
        where = f"schema{error.json_path.removeprefix('$')}"
        raise ConfigurationError(where, error.instance, f"a JSON Schema: {error.message}") from None
    specification = specification_with(str(schema.get("$schema", "")), default=DRAFT202012)
    resource = specification.create_resource(dict(schema))
    registry: Registry[Any] = Registry().with_resource(resource.id() or "", resource)
    resolver = registry.resolver(resource.id() or "")
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ConfigurationError("schema.$ref", reference, "a reference to a part of the same schema") from None
    return kind(dict(schema), registry=registry)


def _check_depth(node: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise ConfigurationError("schema", f"more than {_DEEPEST} levels of nesting", f"at most {_DEEPEST}")
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        _check_depth(child, depth + 1)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(node.get(key), str):
                yield node[key]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)
