"""The check of a workflow document: first against the schema, then for meaning."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidegate.generation.dsl.findings import Finding, pointer, shown
from tidegate.generation.dsl.json_values import find_non_json
from tidegate.generation.dsl.parts import Part, divide
from tidegate.generation.dsl.schema import DslSchema, schema_for
from tidegate.generation.dsl.schema_errors import explain
from tidegate.generation.dsl.schema_words import DSL_VERSION
from tidegate.generation.dsl.semantics.expressions import check_expressions
from tidegate.generation.dsl.semantics.flow import check_flow
from tidegate.generation.dsl.semantics.references import check_references
from tidegate.generation.dsl.semantics.times import check_times

__all__ = ["check_document"]


def check_document(document: object) -> tuple[Finding, ...]:
    """Checks a parsed workflow document, an object of JSON values.

    The schema is the specification's own, in the version that `document.dsl` names. A document that fits the schema is
    also checked for what the schema cannot express, such as jumps to tasks that do not exist.

    Returns:
        The findings from the top of the document to its end. The document is valid if there are none.
    """
    if not isinstance(document, dict):
        return (Finding("", f"must be an object, not {type(document).__name__}"),)
    not_json = find_non_json(document)
    if not_json is not None:
        return (not_json,)
    schema = schema_for(document)
    parts, unknown_tasks = divide(document, schema)
    findings = [*_check_version(document), *_check_schema(parts, schema), *unknown_tasks]
    if not findings:
        findings = [
            *check_flow(parts),
            *check_references(parts, schema),
            *check_expressions(parts),
            *check_times(parts),
        ]
    return _in_order(findings, document)


def _check_version(document: Mapping[str, Any]) -> Iterator[Finding]:
    header = document.get("document")
    version = header.get("dsl") if isinstance(header, dict) else None
    if isinstance(version, str) and not version.startswith("1.0."):
        yield Finding("/document/dsl", f"must be {DSL_VERSION}, not {shown(version)}")


def _check_schema(parts: Iterable[Part], schema: DslSchema) -> Iterator[Finding]:
    for part in parts:
        yield from explain(part.validator.iter_errors(part.value), schema, part.path)


def _in_order(findings: Iterable[Finding], document: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Returns the findings, each once, in the order of their places; a missing property has the place of its object."""
    unique = dict.fromkeys(findings)
    if not unique:
        return ()
    order = {path: position for position, path in enumerate(_paths(document))}
    return tuple(sorted(unique, key=lambda f: order.get(f.path, order.get(f.path.rpartition("/")[0], 0))))


def _paths(document: Mapping[str, Any]) -> Iterator[str]:
    ahead: list[tuple[str, object]] = [("", document)]
    while ahead:
        path, value = ahead.pop()
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ahead += [(pointer([key], path), item) for key, item in reversed(list(items))]
