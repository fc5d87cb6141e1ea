"""Describes one schema inside a caller's schema, for counting the work of a validation."""

import json
from collections.abc import Mapping
from typing import Any

from tidegate.generation.caller_schema.keywords import IN_PLACE

__all__ = ["SchemaNode"]


class SchemaNode:
    """One schema: the cost of its own checks, and the places where other schemas apply."""

    __slots__ = (
        "by_position",
        "every_item",
        "every_property",
        "in_place",
        "name_patterns",
        "name_schemas",
        "other_properties",
        "pattern",
        "properties",
        "schema",
        "units",
    )

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema  # kept alive, because its identity is a key
        self.in_place: list[int] = []
        self.properties: dict[str, int] = {}
        self.other_properties: list[int] = []
        self.every_property: list[int] = []
        self.name_schemas: list[int] = []
        self.by_position: list[tuple[int, int]] = []
        self.every_item: list[int] = []
        pattern, names = schema.get("pattern"), schema.get("patternProperties")
        self.pattern = pattern if isinstance(pattern, str) else ""
        self.name_patterns = tuple(names) if isinstance(names, Mapping) else ()
        compared = [
            schema[keyword] for keyword in ("enum", "const", "required", "dependentRequired") if keyword in schema
        ]
        self.units = 1 + len(json.dumps(compared)) / 1_000

    def add(self, keyword: str, key: str | int | None, inner: Mapping[str, Any]) -> None:
        """Adds a schema directly inside this one."""
        child = id(inner)
        if keyword in IN_PLACE:
            self.in_place.append(child)
        elif keyword == "properties":
            self.properties[str(key)] = child
        elif keyword == "propertyNames":
            self.name_schemas.append(child)
        elif keyword == "additionalProperties":
            self.other_properties.append(child)
        elif keyword in {"patternProperties", "unevaluatedProperties"}:
            self.every_property.append(child)
        elif isinstance(key, int):
            self.by_position.append((key, child))
        elif keyword in {"items", "additionalItems", "unevaluatedItems", "contains"}:
            self.every_item.append(child)

    def of_properties(self, value: Mapping[str, Any]) -> list[tuple[str | int, int]]:
        """Returns the schemas that may apply to properties of an object, with the name of the property."""
        found: list[tuple[str | int, int]] = []
        if self.properties:
            found += [(name, self.properties[name]) for name in value if name in self.properties]
        for child in self.other_properties:
            found += [(name, child) for name in value if name not in self.properties]
        for child in self.every_property:
            found += [(name, child) for name in value]
        return found

    def of_items(self, length: int) -> list[tuple[str | int, int]]:
        """Returns the schemas that may apply to items of a list, with the position of the item."""
        found: list[tuple[str | int, int]] = [(at, child) for at, child in self.by_position if at < length]
        for child in self.every_item:
            found += [(at, child) for at in range(length)]
        return found
