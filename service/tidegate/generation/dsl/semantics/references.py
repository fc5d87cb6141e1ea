"""Checks that names of reusable components refer to something that `use` declares."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from tidegate.generation.dsl.findings import Finding, listed, shown
from tidegate.generation.dsl.parts import Part
from tidegate.generation.dsl.schema import DslSchema

__all__ = ["check_references"]

_COMPONENTS: Final = {
    "ReferenceableAuthenticationPolicyName": "authentications",
    "SecretBasedAuthenticationPolicyName": "secrets",
    "RaiseErrorReference": "errors",
    "RetryPolicyReference": "retries",
    "TaskTimeoutReference": "timeouts",
    "TimeoutReference": "timeouts",
}
"""The part of `use` that declares the names at a place, by the place's title in the schema."""

_DEFAULT_CATALOG: Final = "default"
"""The catalog that a runtime may provide without a declaration."""


def check_references(parts: Sequence[Part], schema: DslSchema) -> Iterator[Finding]:
    """Yields a finding for each name of a function, secret, error, timeout … that `use` does not declare."""
    use = parts[0].value.get("use", {})
    for part in parts:
        if part.keyword == "call" and part.value["call"] not in schema.functions:
            yield from _check_call(part.value["call"], f"{part.path}/call", use, schema.functions)
        for path, title, value in part.places:
            if title in _COMPONENTS:
                yield from _check_name(value, path, _COMPONENTS[title], use)


def _check_call(function: str, path: str, use: Mapping[str, Any], built_in: Sequence[str]) -> Iterator[Finding]:
    if "://" in function:
        return
    name, at, catalog = function.rpartition("@")
    declared = use.get("functions", {})
    if at:
        if ":" not in name:
            yield Finding(path, f"must be name:version@catalog or the name of a function, not {shown(function)}")
        if catalog != _DEFAULT_CATALOG:
            yield from _check_name(catalog, path, "catalogs", use)
    elif function not in declared:
        yield Finding(
            path,
            f"is {shown(function)}, which use.functions does not declare; allowed: {', '.join(built_in)}, a declared "
            f"function ({listed(declared)}), name:version@catalog, or a URL",
        )


def _check_name(name: str, path: str, component: str, use: Mapping[str, Any]) -> Iterator[Finding]:
    declared: Collection[str] = use.get(component, ())
    if name not in declared:
        yield Finding(path, f"is {shown(name)}, which use.{component} does not declare; declared: {listed(declared)}")
