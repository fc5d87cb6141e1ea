"""Whether names of reusable components refer to something that `use` declares."""

from collections.abc import Collection, Iterator

from tidegate.generation.dsl.findings import Finding, listed, shown
from tidegate.generation.dsl.marks import RefersTo
from tidegate.generation.dsl.semantics.walk import walk
from tidegate.generation.dsl.tasks import CallFunction
from tidegate.generation.dsl.use import Use
from tidegate.generation.dsl.workflow import Workflow

_BUILT_IN_FUNCTIONS = "http, grpc, openapi, asyncapi"
_DEFAULT_CATALOG = "default"
"""The catalog that a runtime may provide without a declaration."""


def check_references(workflow: Workflow) -> Iterator[Finding]:
    """Yield a finding for each name of a component (function, secret, error, timeout …) that is not declared."""
    use = workflow.use or Use()
    for place in walk(workflow):
        if isinstance(place.value, CallFunction):
            yield from _check_call(place.value.call, f"{place.path}/call", use)
        elif isinstance(place.value, str):
            for mark in place.marks:
                if isinstance(mark, RefersTo):
                    yield from _check_name(place.value, place.path, mark.component, getattr(use, mark.component))


def _check_call(function: str, path: str, use: Use) -> Iterator[Finding]:
    if "://" in function:
        return
    name, at, catalog = function.rpartition("@")
    if at:
        if ":" not in name:
            yield Finding(path, f"must be name:version@catalog or the name of a function, not {shown(function)}")
        if catalog != _DEFAULT_CATALOG:
            yield from _check_name(catalog, path, "catalogs", use.catalogs)
    elif function not in (use.functions or {}):
        yield Finding(
            path,
            f"is {shown(function)}, which use.functions does not declare; allowed: {_BUILT_IN_FUNCTIONS}, a declared "
            f"function ({listed(use.functions or ())}), name:version@catalog, or a URL",
        )


def _check_name(name: str, path: str, component: str, declared: Collection[str] | None) -> Iterator[Finding]:
    if name not in (declared or ()):
        yield Finding(
            path, f"is {shown(name)}, which use.{component} does not declare; declared: {listed(declared or ())}"
        )
