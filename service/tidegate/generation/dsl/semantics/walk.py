"""A walk over all objects and strings of a workflow, with where they are and what they mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from tidegate.generation.dsl.base import OpenDslModel
from tidegate.generation.dsl.findings import pointer
from tidegate.generation.dsl.marks import Holds, Mark, RefersTo


@dataclass(frozen=True, slots=True)
class Place:
    """A string or an object of the DSL in a document.

    Attributes:
        path: Where it is, as a JSON pointer.
        value: The string or the model.
        marks: What the type of its field says about it.
        variables: The jq variables (without `$`) that loops and catch clauses around it add.
    """

    path: str
    value: str | OpenDslModel
    marks: frozenset[Mark]
    variables: frozenset[str]


@cache
def _marks_by_field(model: type[OpenDslModel]) -> dict[str, frozenset[Mark]]:
    return {
        name: frozenset(item for item in field.metadata if isinstance(item, Holds | RefersTo))
        | _marks_in(field.annotation)
        for name, field in model.model_fields.items()
    }


def _marks_in(hint: Any) -> frozenset[Mark]:
    """Return the marks in a type and in the members of a union, but not those of the items of a list or dict."""
    found: frozenset[Mark] = frozenset()
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *notes = get_args(hint)
        found = frozenset(item for item in notes if isinstance(item, Holds | RefersTo)) | _marks_in(inner)
    elif origin in {Union, UnionType}:
        found = found.union(*(_marks_in(member) for member in get_args(hint)))
    return found


def walk(model: OpenDslModel, path: str = "", variables: frozenset[str] = frozenset()) -> Iterator[Place]:
    """Yield the places of everything inside a model, from top to bottom, leaving out content marked as opaque."""
    fields = type(model).model_fields
    marks = _marks_by_field(type(model))
    for name, field in fields.items():
        if name in model.model_fields_set and Holds.OPAQUE not in marks[name]:
            inside = variables | model.variables_in(name)
            yield from _below(getattr(model, name), pointer([field.alias or name], path), marks[name], inside)
    for name, value in (model.model_extra or {}).items():
        yield from _below(value, pointer([name], path), frozenset(), variables)


def _below(value: object, path: str, marks: frozenset[Mark], variables: frozenset[str]) -> Iterator[Place]:
    if isinstance(value, str):
        yield Place(path, value, marks, variables)
    elif isinstance(value, OpenDslModel):
        yield Place(path, value, marks, variables)
        yield from walk(value, path, variables)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _below(item, pointer([key], path), frozenset(), variables)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _below(item, pointer([at], path), frozenset(), variables)
