"""Validates answers against a JSON Schema that the caller passes instead of the workflow DSL.

Schema and prompt come from the caller, so the time of a validation must be bounded for any input. Regular expressions
run in Rust's `regex` engine, in time linear in pattern and text. The work that references cause is counted before
anything is validated (`work`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import jsonschema_rs

from tidegate.core.domain.errors import ConfigurationError
from tidegate.generation.caller_schema.work import MOST_UNITS, SchemaWork
from tidegate.generation.dsl.findings import pointer
from tidegate.generation.dsl.json_values import find_non_json

__all__ = ["CallerSchema"]

_DIALECTS: Final = {
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
}
_DEFAULT_DIALECT: Final = next(iter(_DIALECTS))
_DEEPEST: Final = 50
"""The allowed depth: far more than a model would follow, far less than what exhausts the stack."""

_MOST_UNITS_OF_ALL_ERRORS: Final = 2_000
"""An error costs a thousand times as much as a check that passes. Above this, only the first error is reported."""

_MOST_FINDINGS: Final = 50
_LONGEST_MESSAGE: Final = 300


class CallerSchema:
    """A compiled schema. It never fetches anything from outside the schema.

    Raises:
        ConfigurationError: it is not a JSON Schema (draft 2020-12 unless `$schema` names an older one), is nested more
            than 50 levels deep, has a reference to something outside itself, or is too costly to check.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        _check_depth(schema, 0)
        dialect = _dialect(schema)
        with _refused_schemas(schema):
            jsonschema_rs.meta.validate(dict(schema))
        self._work = SchemaWork(schema, dialect)
        with _refused_schemas(schema):  # the meta-schema does not check everything, such as the form of a URI
            self._validator = _DIALECTS[dialect](
                dict(schema), pattern_options=self._work.regex_options, validate_formats=False, offline=True
            )

    def findings(self, document: object) -> tuple[str, ...]:
        """Returns the faults of a document as "JSON pointer: message". There are none if it is valid."""
        not_json = find_non_json(document)
        if not_json is not None:
            return (str(not_json),)
        units = self._work.units(document)
        if units > MOST_UNITS:
            return ("document: is too large to be checked against this schema; make it much smaller",)
        if units <= _MOST_UNITS_OF_ALL_ERRORS:
            return _messages(self._validator.iter_errors(document))
        try:
            self._validator.validate(document)
        except jsonschema_rs.ValidationError as error:
            return _messages([error])
        return ()


def _dialect(schema: Mapping[str, Any]) -> str:
    given = schema.get("$schema", _DEFAULT_DIALECT)
    dialect = given.removesuffix("#") if isinstance(given, str) else given
    if dialect not in _DIALECTS:
        raise ConfigurationError("schema.$schema", given, f"one of {', '.join(_DIALECTS)}")
    return str(dialect)


@contextmanager
def _refused_schemas(schema: Mapping[str, Any]) -> Iterator[None]:
    """Converts the library's errors about a schema to a `ConfigurationError`."""
    try:
        yield
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(error) from None
    except ValueError as error:  # not even JSON
        raise ConfigurationError("schema", schema, f"a JSON Schema: {error}") from None


def _not_a_schema(error: jsonschema_rs.ValidationError) -> ConfigurationError:
    where = "schema" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    return ConfigurationError(where, error.instance, f"a JSON Schema: {error.message}")


def _messages(errors: Iterable[jsonschema_rs.ValidationError]) -> tuple[str, ...]:
    lines = dict.fromkeys(f"{pointer(error.instance_path) or 'document'}: {_short(error.message)}" for error in errors)
    return tuple(sorted(lines)[:_MOST_FINDINGS])


def _short(message: str) -> str:
    """Shortens a message. It starts with the value, which may be long, and ends with what is wrong with it."""
    half = _LONGEST_MESSAGE // 2
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:half]}…{message[-half:]}"


def _check_depth(node: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise ConfigurationError("schema", f"more than {_DEEPEST} levels of nesting", f"at most {_DEEPEST}")
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
