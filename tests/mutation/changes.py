"""The mutations that mutmut would make to a module of the core, each as one replaced function.

mutmut starts pytest again for each mutation. Here a mutation is installed in a process that has everything loaded: the
function's code object is replaced, so every reference to the function sees the change.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Final

import libcst
from libcst.metadata import CodeRange, MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

CORE: Final = Path(__file__).parents[2] / "service" / "tidegate" / "core"


def modules_by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Maps names without folders, as `survivors.toml` and the command line use them, to files.

    Raises:
        ValueError: Two files have the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if path.stem == "__init__":
            continue
        if path.stem in found:
            raise ValueError(f"{path} and {found[path.stem]} have the same name; rename one of them")
        found[path.stem] = path
    return found


MODULES: Final = modules_by_name(CORE.rglob("*.py"))
KEPT: Final = Path(__file__).parents[2] / ".tools" / "mutation"
_COMMENT: Final = re.compile(r"  # .*$")
_COMPOUND: Final = (libcst.If, libcst.While, libcst.For, libcst.With, libcst.Match, libcst.Try, libcst.MatchCase)


@dataclass(frozen=True)
class Change:
    """One change to one function.

    `where` is module, class and function. `what` has the changed lines, before and after. `lines` are the lines of the
    original module whose execution can show the change. `source` is the changed function, in its class if it has one.
    """

    where: str
    what: str
    lines: range
    source: str

    @property
    def module(self) -> str:
        """The name of the module."""
        return self.where.partition(".")[0]

    def install(self) -> None:
        """Replace the function's code in this process.

        Raises:
            Exception: Raised by executing the changed definition.
        """
        folder = MODULES[self.module].parent.name
        module = importlib.import_module(f"tidegate.core.{folder}.{self.module}")
        path = self.where.split(".")[1:]
        namespace = dict(vars(module))
        exec(compile("from __future__ import annotations\n" + self.source, self.where, "exec"), namespace)  # noqa: S102
        old, new = (_function(found, path) for found in (vars(module), namespace))
        old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def changes_of(module: str) -> list[Change]:
    """All of mutmut's changes to the functions of this module, except decorated ones and those without code.

    Cached in `.tools/` until the module changes: making them takes half a minute for all modules.
    """
    code = MODULES[module].read_text()
    digest = sha256(f"{version('mutmut')}\0{Path(__file__).read_text()}\0{code}".encode()).hexdigest()[:16]
    kept = KEPT / f"{module}.json"
    if kept.exists() and (content := json.loads(kept.read_text()))["digest"] == digest:
        return [Change(where, what, range(*lines), source) for where, what, lines, source in content["changes"]]
    changes = list(_made(module, code))
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = [(change.where, change.what, (change.lines.start, change.lines.stop), change.source) for change in changes]
    kept.write_text(json.dumps({"digest": digest, "changes": rows}))
    return changes


def _made(module: str, text: str) -> Iterator[Change]:
    wrapper = MetadataWrapper(libcst.parse_module(text))
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    parents = wrapper.resolve(ParentNodeProvider)
    code = libcst.Module([]).code_for_node
    for mutation in visitor.mutations:
        function = mutation.contained_by_top_level_function
        if not isinstance(function, libcst.FunctionDef) or not _has_code(function):
            continue
        changed = deep_replace(function, mutation.original_node, mutation.mutated_node)
        assert isinstance(changed, libcst.FunctionDef)
        owner = parents.get(parents[function])
        within = owner.name.value if isinstance(owner, libcst.ClassDef) else ""
        source = code(changed.with_changes(leading_lines=()))
        yield Change(
            where=".".join(filter(None, (module, within, function.name.value))),
            what=_difference(code(function.with_changes(leading_lines=())), source),
            lines=_lines(mutation.original_node, function, positions, parents),
            source=f"class {within}:\n" + _indented(source) if within else source,
        )


def _has_code(function: libcst.FunctionDef) -> bool:
    """Whether the body is more than a docstring and `...`. A method of a protocol has no more, and is never called."""
    lines = function.body.body
    statements = [
        each for line in lines for each in (line.body if isinstance(line, libcst.SimpleStatementLine) else [line])
    ]
    return not all(
        isinstance(each, libcst.Expr) and isinstance(each.value, (libcst.SimpleString, libcst.Ellipsis))
        for each in statements
    )


def _function(found: dict[str, object], path: list[str]) -> FunctionType:
    thing = found[path[0]]
    for name in path[1:]:
        thing = vars(thing)[name]
    thing = getattr(thing, "__func__", thing)
    assert inspect.isfunction(thing), path
    return thing


def _indented(source: str) -> str:
    return "".join("    " + line for line in source.splitlines(keepends=True))


def _difference(before: str, after: str) -> str:
    """The lines that differ."""
    sides = before.splitlines(), after.splitlines()
    shortest = min(map(len, sides))
    same = 0
    while same < shortest and sides[0][same] == sides[1][same]:
        same += 1
    ends = 1
    while ends <= shortest - same and sides[0][-ends] == sides[1][-ends]:
        ends += 1
    return " → ".join(
        " ".join(_COMMENT.sub("", line).strip() for line in side[same : len(side) - ends + 1]) for side in sides
    )


def _lines(
    node: libcst.CSTNode,
    function: libcst.FunctionDef,
    positions: Mapping[libcst.CSTNode, CodeRange],
    parents: Mapping[libcst.CSTNode, libcst.CSTNode],
) -> range:
    """The lines of the statement; of a compound statement, its head; for a default value, the whole function."""
    while node is not function and not isinstance(node, (libcst.SimpleStatementLine, *_COMPOUND)):
        node = parents[node]
    where = positions[node]
    if isinstance(node, (libcst.If, libcst.While, libcst.For, libcst.With)):
        return range(where.start.line, positions[node.body].start.line + 1)
    return range(where.start.line, where.end.line + 1)
