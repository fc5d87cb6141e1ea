"""Counts the work of a caller's schema before a validator does it.

A validator follows each reference every time it reaches it. Two references to a schema with two references, and so on,
cause 2ⁿ checks of one value in n lines. This module counts how often each schema applies to each value, without
following references twice.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from tidegate.core.domain.errors import ConfigurationError
from tidegate.generation.caller_schema.keywords import REFERENCES, subschemas
from tidegate.generation.caller_schema.node import SchemaNode
from tidegate.generation.caller_schema.patterns import SchemaPatterns

if TYPE_CHECKING:
    from referencing._core import Resolver

__all__ = ["MOST_UNITS", "SchemaWork"]

MOST_UNITS: Final = 20_000
"""The allowed work of the check of one document. A unit is one schema applied to one small value: at most 10 µs."""

_MOST_SUBSCHEMAS: Final = 2_000
_MOST_IN_PLACE: Final = 1_000
"""The allowed checks of one value by a schema and by all schemas that it refers to."""

_LONGEST_CHAIN: Final = 100

_Times = dict[int, int]
"""The number of times that each schema applies to a value, by the identity of the schema."""


class SchemaWork:
    """Counts the checks of a schema. Boolean schemas count as nothing.

    Attributes:
        regex_options: the regex engine that supports all patterns of the schema.

    Raises:
        ConfigurationError: a reference leads to nothing inside the schema or back to its own place, a regular
            expression is not supported, or a limit is exceeded. The message says what is allowed.
    """

    def __init__(self, schema: Mapping[str, Any], dialect: str) -> None:
        self._nodes: dict[int, SchemaNode] = {}
        self._patterns = SchemaPatterns()
        self._root = id(schema)
        self._read(schema, dialect)
        self._checks: dict[int, int] = {}
        for node in self._nodes:
            self._count_in_place(node, 0)
        self.regex_options = self._patterns.engine()

    def units(self, document: object) -> float:
        """Returns the work of checking a document, in units. Counting stops soon after `MOST_UNITS`.

        The document must be a JSON value, nested at most 100 levels deep.
        """
        sizes: dict[int, int] = {}
        _measure(document, sizes)
        total = 0.0
        ahead: list[tuple[object, _Times]] = [(document, {self._root: 1})]
        while ahead and total <= MOST_UNITS:
            value, direct = ahead.pop()
            checks = sum(times * self._checks[key] for key, times in direct.items())
            if total + checks > MOST_UNITS:
                return total + checks
            applied = direct if checks == sum(direct.values()) else self._applied(direct)
            size = sizes[id(value)] if isinstance(value, dict | list) else len(str(value))
            for key, times in applied.items():
                node = self._nodes[key]
                total += times * (node.units + size / 1_000)
                if node.pattern or node.name_patterns:
                    total += times * self._regex_work(node, value)
            if isinstance(value, dict | list):
                ahead.extend(self._below(value, applied))
        return total

    def _applied(self, direct: _Times) -> _Times:
        """Returns how often each schema applies to a value, including those that others apply in place."""
        applied: _Times = {}
        ahead = list(direct.items())
        while ahead:
            node, times = ahead.pop()
            applied[node] = applied.get(node, 0) + times
            ahead.extend((inner, times) for inner in self._nodes[node].in_place)
        return applied

    def _below(self, value: dict[str, Any] | list[Any], applied: _Times) -> list[tuple[object, _Times]]:
        """Returns the parts of a value with the schemas that apply to each, but no more than may be checked."""
        below: dict[str | int, _Times] = {}
        names: _Times = {}
        added = 0
        for key, times in applied.items():
            node = self._nodes[key]
            parts = node.of_properties(value) if isinstance(value, dict) else node.of_items(len(value))
            for part, child in parts:
                part_times = below.setdefault(part, {})
                part_times[child] = part_times.get(child, 0) + times
            if isinstance(value, dict):
                for child in node.name_schemas:
                    names[child] = names.get(child, 0) + times
                    added += len(value)
            added += len(parts)
            if added > MOST_UNITS:
                break
        inside: Any = value
        return [*((inside[part], found) for part, found in below.items()), *((name, names) for name in value if names)]

    def _regex_work(self, node: SchemaNode, value: object) -> float:
        if isinstance(value, str) and node.pattern:
            return self._patterns.match_units(node.pattern, len(value))
        if isinstance(value, dict) and node.name_patterns:
            # Once for the properties that match a pattern, once to find those that match none.
            return 2 * sum(
                self._patterns.match_units(pattern, len(name)) for pattern in node.name_patterns for name in value
            )
        return 0.0

    def _read(self, schema: Mapping[str, Any], dialect: str) -> None:
        """Reads all schemas inside the schema and all that it refers to."""
        specification = specification_with(dialect)
        resource = specification.create_resource(schema)
        registry: Registry[Any] = Registry().with_resource(resource.id() or "", resource).crawl()
        ahead: list[tuple[Mapping[str, Any], Resolver[Any]]] = [(schema, registry.resolver(resource.id() or ""))]
        while ahead:
            part, resolver = ahead.pop()
            if id(part) in self._nodes:
                continue
            if len(self._nodes) == _MOST_SUBSCHEMAS:
                raise ConfigurationError(
                    "schema", f"more than {_MOST_SUBSCHEMAS:,} subschemas", f"at most {_MOST_SUBSCHEMAS:,}"
                )
            node = self._nodes[id(part)] = SchemaNode(part)
            for pattern in filter(None, (node.pattern, *node.name_patterns)):
                self._patterns.add(pattern)
            for keyword, key, inner in subschemas(part):
                node.add(keyword, key, inner)
                ahead.append((inner, resolver.in_subresource(specification.create_resource(inner))))
            for keyword in REFERENCES:
                if isinstance(part.get(keyword), str):
                    contents, resolver_there = _looked_up(resolver, keyword, part[keyword])
                    if isinstance(contents, Mapping):
                        node.in_place.append(id(contents))
                        ahead.append((contents, resolver_there))
        self._link_dynamic_references()

    def _link_dynamic_references(self) -> None:
        """Adds all possible targets of each `$dynamicRef`. Which one applies depends on the value."""
        anchored: dict[str, list[int]] = {}
        for key, node in self._nodes.items():
            anchor = node.schema.get("$dynamicAnchor")
            if isinstance(anchor, str):
                anchored.setdefault(anchor, []).append(key)
        for node in self._nodes.values():
            reference = node.schema.get("$dynamicRef")
            if isinstance(reference, str):
                meant = anchored.get(reference.rpartition("#")[2], [])
                node.in_place.extend(set(meant) - set(node.in_place))

    def _count_in_place(self, node: int, depth: int) -> int:
        """Returns how many checks of one value a schema causes, including itself."""
        known = self._checks.get(node)
        if known is not None:
            return known
        if depth > _LONGEST_CHAIN:
            given = f"references that come back at the same place, or over {_LONGEST_CHAIN} in a row"
            raise ConfigurationError("schema.$ref", given, "references that go on to a property or an item, or end")
        made = 1 + sum(self._count_in_place(inner, depth + 1) for inner in self._nodes[node].in_place)
        if made > _MOST_IN_PLACE:
            raise ConfigurationError(
                "schema", f"{made:,} checks of one value, references followed", f"at most {_MOST_IN_PLACE:,}"
            )
        self._checks[node] = made
        return made


def _looked_up(resolver: "Resolver[Any]", keyword: str, reference: str) -> "tuple[Any, Resolver[Any]]":
    try:
        resolved = resolver.lookup(reference)
    except Unresolvable:
        raise ConfigurationError(f"schema.{keyword}", reference, "a reference to a part of the same schema") from None
    return resolved.contents, resolved.resolver


def _measure(value: object, sizes: dict[int, int]) -> int:
    """Stores the approximate number of characters of each object and list, and returns that of the value."""
    if isinstance(value, dict):
        size = 2 + sum(len(key) + 4 + _measure(item, sizes) for key, item in value.items())
    elif isinstance(value, list):
        size = 2 + sum(1 + _measure(item, sizes) for item in value)
    else:
        return len(str(value))
    sizes[id(value)] = size
    return size
