"""Lists the JSON Schema keywords that contain further schemas, for drafts 4 to 2020-12."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["CHILD", "DEFINITION", "IN_PLACE", "REFERENCES", "Subschema", "subschemas"]

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
"""Keywords that apply the schema they refer to, to the same value."""

IN_PLACE: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
"""Keywords whose schemas apply to the same value."""

CHILD: Final = frozenset(
    {"properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"}
    | {"items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"}
)
"""Keywords whose schemas apply to properties, their names, or items."""

DEFINITION: Final = frozenset({"$defs", "definitions"})
"""Keywords whose schemas apply only through references."""

_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"}) | DEFINITION
_ALL: Final = IN_PLACE | CHILD | DEFINITION


class Subschema(NamedTuple):
    """A schema directly inside another, with its keyword, and its key or index in a map or list."""

    keyword: str
    key: str | int | None
    schema: Mapping[str, Any]


def subschemas(schema: Mapping[str, Any]) -> Iterator[Subschema]:
    """Yields the schemas directly inside a schema in order, without boolean ones."""
    for keyword, value in schema.items():
        if keyword not in _ALL:
            continue
        if keyword in _MAPS:
            entries: Any = value.items() if isinstance(value, Mapping) else ()
        else:
            entries = enumerate(value) if isinstance(value, list) else ((None, value),)
        for key, item in entries:
            if isinstance(item, Mapping):
                yield Subschema(keyword, key, item)
