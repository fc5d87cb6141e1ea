"""The JSON Schema of the Serverless Workflow DSL, compiled for validation task by task.

The schema lists the kinds of task in a `oneOf`. A validator tries all of them on each task, and again on each task
inside it, which takes exponential time in the depth of nesting. Here the definition of a task is replaced by an empty
schema, and each kind of task has its own validator, which the keyword of a task selects.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import jsonschema_rs

__all__ = ["DslSchema", "schema_for"]

_DEFINITIONS: Final = "#/$defs/"
_FIRST_VERSION: Final = re.compile(r"1\.0\.0(?![0-9])")


class DslSchema:
    """One version of the schema.

    Attributes:
        document: validates a workflow document, except for its tasks.
        keywords: the keyword of each kind of task, sorted.
        functions: the built-in functions that `call` accepts.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        kinds = dict(_kinds(schema["$defs"]))
        self._schema = {**schema, "$defs": {**schema["$defs"], "task": {}}}
        self._tasks = {
            kind: _compiled({"$schema": schema["$schema"], "$defs": self._schema["$defs"], "$ref": reference})
            for kind, reference in kinds.items()
        }
        self.document = _compiled(self._schema)
        self.keywords = tuple(sorted({keyword for keyword, _ in kinds}))
        self.functions = tuple(function for _, function in kinds if function)

    def task_validator(self, keyword: str, task: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
        """Returns the validator for a task with this keyword; it ignores the tasks inside the task."""
        function = task[keyword] if keyword == "call" and task[keyword] in self.functions else None
        return self._tasks[keyword, function]

    def node(self, location: Sequence[str | int]) -> Any:
        """Returns the part of the schema at a location that a validation error names."""
        part: Any = self._schema
        for key in location:
            part = part[key]
        return part

    def layers(self, node: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Returns the schemas that apply in one place: a schema, and the definition that it refers to."""
        reference = node.get("$ref")
        return (node, self._schema["$defs"][reference.removeprefix(_DEFINITIONS)]) if reference else (node,)


def schema_for(document: Mapping[str, Any]) -> DslSchema:
    """Returns the schema for the version of the DSL that a document names.

    1.0.0 and its pre-releases have the schema of the tag v1.0.0. Everything else has the newest schema.
    """
    header = document.get("document")
    version = header.get("dsl") if isinstance(header, dict) else None
    is_first = isinstance(version, str) and _FIRST_VERSION.match(version) is not None
    return _load("1.0.0" if is_first else "1.0.3")


@cache
def _load(version: str) -> DslSchema:
    text = (files(__package__) / "schemas" / f"{version}.json").read_text(encoding="utf-8")
    return DslSchema(json.loads(text))


def _kinds(definitions: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str | None], str]]:
    """Yields the keyword of each kind of task, the built-in function for a `call`, and a reference to its schema."""
    for kind in definitions["task"]["oneOf"]:
        name = kind["$ref"].removeprefix(_DEFINITIONS)
        keyword = name.removesuffix("Task")
        if "oneOf" not in definitions[name]:
            yield (keyword, None), kind["$ref"]
            continue
        for position, branch in enumerate(definitions[name]["oneOf"]):
            parts = [branch, *branch.get("allOf", ())]
            constants = [part["properties"]["call"].get("const") for part in parts if "properties" in part]
            yield (keyword, constants[0]), f"{kind['$ref']}/oneOf/{position}"


def _compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, offline=True)
