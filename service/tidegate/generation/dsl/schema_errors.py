"""Turns the validator's errors into findings that say what is wrong, what was given and what is allowed.

The validator reports all alternatives of a `oneOf` that failed. The findings are about the one that the author meant:
it has the right type, and requires most of the properties that are there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from jsonschema_rs import ValidationError, ValidationErrorKind

from tidegate.generation.dsl.findings import Finding, did_you_mean, listed, pointer, shown
from tidegate.generation.dsl.schema import DslSchema
from tidegate.generation.dsl.schema_words import describe, likely_alternatives, properties, requirements

__all__ = ["explain"]

_SECRET_PROPERTIES: Final = frozenset(
    {"password", "secret", "secrets", "assertion", "token", "authentication", "authentications"}
    | {"basic", "bearer", "digest", "oauth2", "oidc", "client", "subject", "actor"}
)
_MOST_UNKNOWN: Final = 20
"""Unknown properties of one object that get a finding."""

_Keys = tuple[str | int, ...]


def explain(errors: Iterable[ValidationError], schema: DslSchema, path: str) -> list[Finding]:
    """Returns findings for the errors of a part of a document; there is at least one if there are errors.

    Args:
        errors: what the validator reports.
        schema: the schema that the part was validated against.
        path: the JSON pointer of the part.
    """
    given = list(errors)
    findings = [Finding(pointer(keys, path), message) for keys, message in _Explanation(schema).of_all(given)]
    if given and not findings:
        return [Finding(pointer(given[0].instance_path, path), "does not fit the schema of the DSL")]
    return findings


class _Explanation:
    """Explains errors. The paths that it yields are relative to the part of the document."""

    def __init__(self, schema: DslSchema) -> None:
        self._schema = schema

    def of_all(self, errors: Sequence[ValidationError]) -> Iterator[tuple[_Keys, str]]:
        """Yields path and message for errors. A value of the wrong type has no other errors."""
        wrong_types = {_keys(error) for error in errors if isinstance(error.kind, ValidationErrorKind.Type)}
        for error in errors:
            if isinstance(error.kind, ValidationErrorKind.Type) or _keys(error) not in wrong_types:
                yield from self._of(error)

    def _of(self, error: ValidationError) -> Iterator[tuple[_Keys, str]]:
        keys, node = _keys(error), self._schema.node(error.schema_path[:-1])
        value: Any = error.instance
        match error.kind:
            case ValidationErrorKind.Required(property=name):
                yield (*keys, name), "is missing; it is required here"
            case ValidationErrorKind.UnevaluatedProperties(unexpected=names):
                allowed = properties(self._schema, node, value)
                for name in islice((name for name in names if name not in allowed), _MOST_UNKNOWN):
                    suggestion = did_you_mean([name], allowed)
                    yield (*keys, name), f"is not a property here{suggestion}; allowed: {', '.join(allowed)}"
            case ValidationErrorKind.OneOfMultipleValid(context=contexts) if isinstance(value, dict):
                matching = [branch for branch, failed in zip(node["oneOf"], contexts, strict=True) if not failed]
                yield keys, f"has {self._rivals(matching, value)}, but may have only one of them"
            case ValidationErrorKind.OneOfNotValid(context=contexts) | ValidationErrorKind.AnyOf(context=contexts):
                yield from self._of_alternatives(error, contexts)
            case ValidationErrorKind.FalseSchema():
                yield keys, "is not a property here"
            case ValidationErrorKind.Not() if "required" in node["not"]:
                yield (*keys, *node["not"]["required"]), "is only allowed if cleanup is 'eventually'"
            case ValidationErrorKind.MinProperties() | ValidationErrorKind.MaxProperties():
                yield keys, self._size(node, value)
            case _:
                yield keys, f"must {self._requirement(error, node)}, not {_shown(value, keys)}"

    def _requirement(self, error: ValidationError, node: Mapping[str, Any]) -> str:
        match error.kind:
            case ValidationErrorKind.Enum(options=options):
                *others, last = map(repr, options)
                return f"be {', '.join(others)} or {last}"
            case ValidationErrorKind.Minimum() | ValidationErrorKind.Maximum():
                return f"be from {node['minimum']} to {node['maximum']}"
            case ValidationErrorKind.MinLength():
                return "have at least one character"
            case ValidationErrorKind.MinItems():
                return "have at least one entry"
        is_definition = error.schema_path[0] == "$defs" and len(error.schema_path) == 3
        return f"be {describe(self._schema, {'$ref': f'#/$defs/{error.schema_path[1]}'} if is_definition else node)}"

    def _size(self, node: Mapping[str, Any], value: Mapping[str, Any]) -> str:
        if "maxProperties" in node:
            return f"must have exactly one entry, not {len(value)}"
        names = properties(self._schema, node, value)
        return f"must have at least one of: {', '.join(names)}" if names else "must have at least one entry"

    def _of_alternatives(
        self, error: ValidationError, contexts: Sequence[Sequence[ValidationError]]
    ) -> Iterator[tuple[_Keys, str]]:
        keys, node = _keys(error), self._schema.node(error.schema_path[:-1])
        value: Any = error.instance
        alternatives = [
            (branch, failed)
            for branch, failed in zip(self._schema.node(error.schema_path), contexts, strict=True)
            if not _has_wrong_type(failed, keys)
        ]
        if not isinstance(value, dict) or not alternatives:
            yield keys, f"must {self._requirement(error, node)}, not {_shown(value, keys)}"
            return
        likely = likely_alternatives(self._schema, [branch for branch, _ in alternatives], value)
        if len(likely) == 1:
            yield from self.of_all(next(failed for branch, failed in alternatives if branch is likely[0]))
            return
        choices = [
            " and ".join(name for name in required if name not in value)
            for branch in likely
            for required in requirements(self._schema, branch)
        ]
        yield keys, f"must have one of: {', '.join(choices)}; it has {listed(value)}"

    def _rivals(self, branches: Sequence[Mapping[str, Any]], value: Mapping[str, Any]) -> str:
        """Returns the properties by which the matching alternatives differ."""
        matching = [
            required
            for branch in branches
            for required in requirements(self._schema, branch)
            if all(name in value for name in required)
        ]
        names = [name for name in value if len({name in required for required in matching}) == 2]
        return " and ".join(names) or "the properties of several alternatives"


def _keys(error: ValidationError) -> _Keys:
    return tuple(error.instance_path)


def _has_wrong_type(errors: Sequence[ValidationError], keys: _Keys) -> bool:
    """Whether the value at these keys, itself and not something inside it, has no type that would do."""
    for error in errors:
        if _keys(error) == keys:
            match error.kind:
                case ValidationErrorKind.Type():
                    return True
                case ValidationErrorKind.AnyOf(context=contexts) | ValidationErrorKind.OneOfNotValid(context=contexts):
                    if all(_has_wrong_type(inner, keys) for inner in contexts):
                        return True
    return False


def _shown(value: object, keys: _Keys) -> str:
    """Returns a value for a message, or a remark instead if it may be a credential."""
    is_secret = keys[-1:] and keys[-1] in _SECRET_PROPERTIES
    return "what was given (not shown)" if is_secret or keys[-2:-1] == ("authentications",) else shown(value)
