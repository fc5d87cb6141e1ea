"""Counts the work of a caller's schema before a validator does it.

A validator follows each reference every time it reaches it. Two references to a schema with two references, and so on,
cause 2ⁿ checks of one value in n lines. This module counts how often each schema applies to each value, without
following references twice.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
from jsonschema_rs import FancyRegexOptions, RegexOptions
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from tidegate.core.domain.errors import ConfigurationError
from tidegate.generation.schema_keywords import IN_PLACE, REFERENCES, subschemas

if TYPE_CHECKING:
    from referencing._core import Resolver

__all__ = ["MOST_UNITS", "SchemaWork"]

MOST_UNITS: Final = 20_000
"""The allowed work of the check of one document. A unit is one schema applied to one small value: at most 10 µs."""

_MOST_SUBSCHEMAS: Final = 2_000
_MOST_IN_PLACE: Final = 1_000
"""The allowed checks of one value by a schema and by all schemas that it refers to."""

_LONGEST_CHAIN: Final = 100

_LONGEST_PATTERN: Final = 2_000
_REGEX_BYTES: Final = (2_000, 10_000, 50_000, 100_000)
"""Classes of size of a compiled regular expression. The last one is the allowed size."""

_MOST_REGEX_BYTES: Final = 1_000_000
"""The allowed size of all patterns of a schema together. Compiling takes up to 8 ns per byte."""

_UNITS_PER_BYTE_AND_CHARACTER: Final = 28e-6
"""A match takes up to 0.14 ns per byte of the pattern and character of the text, counted in units of 5 µs.

Measured with `[01]*1[01]{1383}x`, whose automaton does not fit into any cache.
"""

_MOST_BACKTRACKS: Final = 1_000
"""The allowed backtracking steps of one match. Look-around and back-references need them; other patterns do not."""

_UNITS_PER_SQUARE_CHARACTER: Final = 1 / 5_000
"""For a match with backtracking, of which each step may read the whole text again."""

_Times = dict[int, int]
"""How often each schema applies to a value, by the identity of the schema."""

_COUNTED: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


class SchemaWork:
    """Counts the checks of a schema. Boolean schemas count as nothing.

    Attributes:
        regex_options: The regex engine that supports all patterns of the schema.

    Raises:
        ConfigurationError: A reference leads to nothing inside the schema or back to its own place, a regular
            expression is not supported, or a limit is exceeded. The message says what is allowed.
    """

    def __init__(self, schema: Mapping[str, Any], dialect: str) -> None:
        self._nodes: dict[int, _Node] = {}
        self._regex_bytes: dict[str, int] = {}
        self._fancy: set[str] = set()
        self._root = id(schema)
        self._read(schema, dialect)
        self._checks: dict[int, int] = {}
        for node in self._nodes:
            self._count_in_place(node, 0)
        self.regex_options = _engine(_REGEX_BYTES[-1], fancy=bool(self._fancy))

    def units(self, document: object) -> float:
        """Return the work of checking a document, in units. Counting stops soon after `MOST_UNITS`.

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
        """Return how often each schema applies to a value, including those that others apply in place."""
        applied: _Times = {}
        ahead = list(direct.items())
        while ahead:
            node, times = ahead.pop()
            applied[node] = applied.get(node, 0) + times
            ahead.extend((inner, times) for inner in self._nodes[node].in_place)
        return applied

    def _below(self, value: dict[str, Any] | list[Any], applied: _Times) -> list[tuple[object, _Times]]:
        """Return the parts of a value with the schemas that apply to each, but no more than may be checked."""
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

    def _regex_work(self, node: "_Node", value: object) -> float:
        if isinstance(value, str) and node.pattern:
            return self._match_units(node.pattern, len(value))
        if isinstance(value, dict) and node.name_patterns:
            # Once for the properties that match a pattern, once to find those that match none.
            return 2 * sum(self._match_units(pattern, len(name)) for pattern in node.name_patterns for name in value)
        return 0.0

    def _match_units(self, pattern: str, characters: int) -> float:
        linear = self._regex_bytes[pattern] * characters * _UNITS_PER_BYTE_AND_CHARACTER
        return linear + (characters**2 * _UNITS_PER_SQUARE_CHARACTER if pattern in self._fancy else 0)

    def _read(self, schema: Mapping[str, Any], dialect: str) -> None:
        """Read all schemas inside the schema and all that it refers to."""
        specification = specification_with(dialect)
        resource = specification.create_resource(schema)
        registry: Registry[Any] = Registry().with_resource(resource.id() or "", resource).crawl()
        ahead: list[tuple[Mapping[str, Any], Resolver[Any]]] = [(schema, registry.resolver(resource.id() or ""))]
        while ahead:
            part, resolver = ahead.pop()
            if id(part) in self._nodes:
                continue
            if len(self._nodes) == _MOST_SUBSCHEMAS:
                raise _too_much(f"more than {_MOST_SUBSCHEMAS:,} subschemas", f"at most {_MOST_SUBSCHEMAS:,}")
            node = self._nodes[id(part)] = _Node(part)
            for pattern in filter(None, (node.pattern, *node.name_patterns)):
                self._read_pattern(pattern)
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
        """Add all possible targets of each `$dynamicRef`. Which one applies depends on the value."""
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

    def _read_pattern(self, pattern: str) -> None:
        if pattern in self._regex_bytes:
            return
        self._regex_bytes[pattern] = self._compiled_bytes(pattern)
        if sum(self._regex_bytes.values()) > _MOST_REGEX_BYTES:
            raise _too_much("patterns that are too large together", f"at most {_MOST_REGEX_BYTES:,} bytes, compiled")

    def _compiled_bytes(self, pattern: str) -> int:
        """Return the size class of a compiled pattern, and remember the pattern if it needs backtracking."""
        if len(pattern) <= _LONGEST_PATTERN:
            for size in _REGEX_BYTES:
                if _compiles(pattern, _engine(size)):
                    return size
            if _repetitions(pattern) <= _MOST_BACKTRACKS and _compiles(pattern, _engine(_REGEX_BYTES[-1], fancy=True)):
                self._fancy.add(pattern)
                return _REGEX_BYTES[-1]
        raise ConfigurationError(
            "schema.pattern",
            pattern,
            f"a regular expression of at most {_LONGEST_PATTERN:,} characters, and short when its repetitions are "
            "written out",
        )

    def _count_in_place(self, node: int, depth: int) -> int:
        """Return how many checks of one value a schema causes, including itself."""
        known = self._checks.get(node)
        if known is not None:
            return known
        if depth > _LONGEST_CHAIN:
            given = f"references that come back at the same place, or over {_LONGEST_CHAIN} in a row"
            raise ConfigurationError("schema.$ref", given, "references that go on to a property or an item, or end")
        made = 1 + sum(self._count_in_place(inner, depth + 1) for inner in self._nodes[node].in_place)
        if made > _MOST_IN_PLACE:
            raise _too_much(f"{made:,} checks of one value, references followed", f"at most {_MOST_IN_PLACE:,}")
        self._checks[node] = made
        return made


class _Node:
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
        """Add a schema directly inside this one."""
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
        """Return the schemas that may apply to properties of an object, with the name of the property."""
        found: list[tuple[str | int, int]] = []
        if self.properties:
            found += [(name, self.properties[name]) for name in value if name in self.properties]
        for child in self.other_properties:
            found += [(name, child) for name in value if name not in self.properties]
        for child in self.every_property:
            found += [(name, child) for name in value]
        return found

    def of_items(self, length: int) -> list[tuple[str | int, int]]:
        """Return the schemas that may apply to items of a list, with the position of the item."""
        found: list[tuple[str | int, int]] = [(at, child) for at, child in self.by_position if at < length]
        for child in self.every_item:
            found += [(at, child) for at in range(length)]
        return found


def _looked_up(resolver: "Resolver[Any]", keyword: str, reference: str) -> "tuple[Any, Resolver[Any]]":
    try:
        resolved = resolver.lookup(reference)
    except Unresolvable:
        raise ConfigurationError(f"schema.{keyword}", reference, "a reference to a part of the same schema") from None
    return resolved.contents, resolved.resolver


def _too_much(given: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("schema", given, allowed)


@cache
def _engine(size: int, *, fancy: bool = False) -> RegexOptions | FancyRegexOptions:
    if fancy:
        return FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKS, size_limit=size, dfa_size_limit=1_000_000)
    return RegexOptions(size_limit=size, dfa_size_limit=1_000_000)


def _compiles(pattern: str, engine: RegexOptions | FancyRegexOptions) -> bool:
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=engine, offline=True)
    except ValueError:
        return False
    return True


def _repetitions(pattern: str) -> int:
    """Return an upper bound of how much longer a pattern is when its counted repetitions are written out."""
    product = 1
    for least, most in _COUNTED.findall(pattern):
        product *= max(int(least), int(most or 0), 1)
    return product


def _measure(value: object, sizes: dict[int, int]) -> int:
    """Store the approximate number of characters of each object and list, and return that of the value."""
    if isinstance(value, dict):
        size = 2 + sum(len(key) + 4 + _measure(item, sizes) for key, item in value.items())
    elif isinstance(value, list):
        size = 2 + sum(1 + _measure(item, sizes) for item in value)
    else:
        return len(str(value))
    sizes[id(value)] = size
    return size
