"""Divides a workflow document into parts that are validated one by one: the document itself, and each of its tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import jsonschema_rs

from tidegate.generation.dsl.findings import Finding, did_you_mean, listed, pointer, shown
from tidegate.generation.dsl.schema import DslSchema

__all__ = ["Part", "Place", "TaskEntry", "divide", "entries"]

_TASK_LISTS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "": (("do",),),
    "do": (("do",),),
    "for": (("do",),),
    "fork": (("fork", "branches"),),
    "try": (("try",), ("catch", "do")),
    "listen": (("foreach", "do"),),
    "asyncapi": (("with", "subscription", "foreach", "do"),),
}
"""The places at which the document (the empty keyword) and each kind of task hold lists of tasks."""


class Place(NamedTuple):
    """A value with the title that the schema gives to its place, such as `DurationInline`."""

    path: str
    title: str
    value: Any


class TaskEntry(NamedTuple):
    """A named task of a list of tasks."""

    path: str
    name: str
    task: Any


@dataclass(eq=False)
class Part:
    """The document without its tasks, or a task without the tasks inside it.

    Attributes:
        path: the JSON pointer of the part.
        value: the document or task.
        keyword: the keyword of the task, or the empty string for the document.
        validator: validates the part, ignoring the tasks inside it.
        parent: the part around it.
    """

    path: str
    value: dict[str, Any]
    keyword: str
    validator: jsonschema_rs.Draft202012Validator
    parent: "Part | None" = None

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The titled places of a valid part, in the schema's order."""
        return tuple(
            Place(self.path + note["instanceLocation"], str(title), _value_at(self.value, note["instanceLocation"]))
            for note in self.validator.evaluate(self.value).annotations()
            if isinstance(note["annotations"], dict) and (title := note["annotations"].get("title"))
        )

    @property
    def is_asyncapi(self) -> bool:
        """Whether the part is a call of the built-in function `asyncapi`."""
        return self.keyword == "call" and self.value["call"] == "asyncapi"

    def task_lists(self) -> Iterator[tuple[TaskEntry, ...]]:
        """Yields the lists of tasks directly inside the part, whether they are valid or not."""
        for keys in _TASK_LISTS.get("asyncapi" if self.is_asyncapi else self.keyword, ()):
            yield _task_list(self.value, keys, self.path)
        if self.keyword == "":
            extensions = _at(self.value, ("use", "extensions"))
            for path, _, extension in entries(extensions, pointer(("use", "extensions"))):
                yield _task_list(extension, ("before",), path)
                yield _task_list(extension, ("after",), path)

    def tasks(self) -> Iterator[TaskEntry]:
        """Yields the tasks directly inside the part, whether they are valid or not."""
        for tasks in self.task_lists():
            yield from tasks
        functions = _at(self.value, ("use", "functions")) if self.keyword == "" else None
        if isinstance(functions, dict):
            for name, task in functions.items():
                yield TaskEntry(pointer(("use", "functions", name)), name, task)


def divide(document: dict[str, Any], schema: DslSchema) -> tuple[list[Part], list[Finding]]:
    """Returns the parts of a document, each before the parts inside it, and a finding per task of no known kind."""
    parts = [Part("", document, "", schema.document)]
    findings: list[Finding] = []
    for part in parts:  # grows while it is read
        for path, _, task in part.tasks():
            problem = _kind_problem(task, schema)
            if problem is None:
                keyword = _keywords(task, schema)[0]
                parts.append(Part(path, task, keyword, schema.task_validator(keyword, task), part))
            else:
                findings.append(Finding(path, problem))
    return parts, findings


def _keywords(task: Mapping[str, Any], schema: DslSchema) -> list[str]:
    present = [keyword for keyword in schema.keywords if keyword in task]
    if "for" in present and "do" in present:  # `do` is also a property of `for`
        present.remove("do")
    return present


def _kind_problem(task: object, schema: DslSchema) -> str | None:
    if not isinstance(task, dict):
        return f"must be a task, which is an object, not {shown(task)}"
    keywords = ", ".join(schema.keywords)
    present = _keywords(task, schema)
    if not present:
        suggestion = did_you_mean(task, schema.keywords)
        return f"must be a task with one of: {keywords}; it has {listed(task)}{suggestion}"
    if len(present) > 1:
        return f"must be one task, with only one of: {keywords}; it has {' and '.join(present)}"
    return None


def entries(items: object, path: str) -> Iterator[TaskEntry]:
    """Yields the entries of a list of objects, which have one entry each if they are valid."""
    for position, item in enumerate(items if isinstance(items, list) else ()):
        for name, value in item.items() if isinstance(item, dict) else ():
            yield TaskEntry(pointer((position, name), path), name, value)


def _task_list(value: object, keys: tuple[str, ...], path: str) -> tuple[TaskEntry, ...]:
    return tuple(entries(_at(value, keys), pointer(keys, path)))


def _at(value: object, keys: tuple[str, ...]) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _value_at(value: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key) if isinstance(value, list) else key]
    return value
