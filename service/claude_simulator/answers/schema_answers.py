"""Composes a small JSON value that is valid under a JSON Schema."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from claude_simulator.answers.pattern_answers import text_matching
from claude_simulator.errors import invalid_request
from claude_simulator.requests.schema_limits import resolve_reference

_FORMATS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_MAX_DEPTH: Final = 60
_DEPTH_OF_REFERENCES: Final = 8
_MAX_SIZE: Final = 1_000
_MAX_VALUES: Final = 20_000


def instance_of(schema: Mapping[str, Any], words: str) -> Any:
    """Composes a minimal valid value: required properties only, and the first alternative of each choice.

    Args:
        schema: types, enum, const, anyOf/oneOf/allOf, local `$ref`, formats, patterns, and limits of numbers, strings,
            arrays and objects are respected. `not`, `if` and restrictions on property names are ignored.
        words: the text of unconstrained strings.

    Raises:
        ApiError: 400, a `$ref` does not resolve, or the schema is too deep, too large or recursive.
    """
    return _Composer(schema, words).value(schema, 0)


class _Composer:
    def __init__(self, root: Mapping[str, Any], words: str) -> None:
        self._root = root
        self._words = words
        self._values = 0

    def value(self, schema: Any, depth: int) -> Any:
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise invalid_request(f"schema: more than {_MAX_DEPTH} levels or {_MAX_VALUES} values, or recursive")
        if not isinstance(schema, Mapping):  # `true` allows everything
            return self._words
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        simpler = self._resolved(schema, depth)
        return self._typed(schema, depth) if simpler is None else self.value(simpler, depth + 1)

    def _resolved(self, schema: Mapping[str, Any], depth: int) -> Any:
        """Simplifies by one step: a reference, a choice or a conjunction. Returns None if there is none of these."""
        if "$ref" in schema:
            return resolve_reference(self._root, schema["$ref"], "schema")
        for choice in ("anyOf", "oneOf"):
            if schema.get(choice):
                return _merged(_without(schema, choice), _alternative(schema[choice], depth))
        if schema.get("allOf"):
            merged = _without(schema, "allOf")
            for part in schema["allOf"]:
                merged = _merged(
                    merged, self._resolved(part, depth) if isinstance(part, Mapping) and "$ref" in part else part
                )
            return merged
        return None

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        simple: dict[str, Callable[[], Any]] = {
            "integer": lambda: _whole(_number(schema, step=1)),
            "number": lambda: _number(schema, step=0.5),
            "boolean": lambda: True,
            "null": lambda: None,
            "string": lambda: self._string(schema),
        }
        kind = _type(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._list(schema, depth)
        return simple[kind]() if kind in simple else self._words

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        names = dict.fromkeys(schema.get("required", ()))
        least = self._size(schema, "minProperties")
        further = (*properties, *(f"key{number}" for number in range(least)))
        names |= dict.fromkeys([name for name in further if name not in names][: max(0, least - len(names))])
        others = schema.get("additionalProperties", True)
        return {name: self.value(properties.get(name, others), depth + 1) for name in names}

    def _list(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        size = self._size(schema, "minItems")
        item = schema.get("items", True)
        items = schema.get("prefixItems") or [item] * size
        if not schema.get("uniqueItems"):
            return [self.value(each, depth + 1) for each in items]
        if isinstance(item, Mapping) and "enum" in item:
            return list(item["enum"][:size])
        return [_numbered(self.value(each, depth + 1), number) for number, each in enumerate(items)]

    def _string(self, schema: Mapping[str, Any]) -> str:
        if "pattern" in schema:
            matching = text_matching(str(schema["pattern"]), self._size(schema, "minLength"))
            if matching is not None:
                return matching
        text = _FORMATS.get(schema.get("format", ""), self._words)
        longest = len(text) if "maxLength" not in schema else int(schema["maxLength"])
        return text[:longest].ljust(self._size(schema, "minLength"), ".")

    def _size(self, schema: Mapping[str, Any], keyword: str) -> int:
        size = int(schema.get(keyword, 0))
        if size > _MAX_SIZE:
            raise invalid_request(f"schema.{keyword}: {size} was given; at most {_MAX_SIZE} is supported")
        return size


def _alternative(choices: list[Any], depth: int) -> Any:
    """The first alternative; at depth the first that is not a reference, so that recursive schemas end."""
    if depth > _DEPTH_OF_REFERENCES:
        return next((choice for choice in choices if "$ref" not in choice), choices[0])
    return choices[0]


def _numbered(value: Any, number: int) -> Any:
    """Makes the value distinct for each number."""
    if isinstance(value, str):
        return f"{value} {number}" if number else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + number
    return value


def _without(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    return {key: value for key, value in schema.items() if key != keyword}


def _merged(base: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """Merges two schemas: unites properties and required names; otherwise `part` takes precedence."""
    if not isinstance(part, Mapping):
        return base
    united = {**base, **part}
    if "properties" in base and "properties" in part:
        united["properties"] = {**base["properties"], **part["properties"]}
    if "required" in base and "required" in part:
        united["required"] = list(dict.fromkeys([*base["required"], *part["required"]]))
    return united


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(kind[0])
    if kind is not None:
        return str(kind)
    return "object" if "properties" in schema or "required" in schema else "string"


def _whole(number: float) -> int:
    """Rounds away from zero."""
    return math.ceil(number) if number > 0 else math.floor(number)


def _number(schema: Mapping[str, Any], *, step: float) -> float:
    """The allowed number nearest to zero; exclusive limits count as one step further inside."""
    lowest = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    highest = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    value: float = 0 if lowest is None else max(0, lowest)
    value = value if highest is None else min(value, highest)
    multiple = schema.get("multipleOf")
    if not multiple:
        return value
    above: float = math.ceil(value / multiple) * multiple
    return above if highest is None or above <= highest else above - multiple
