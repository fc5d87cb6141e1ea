"""Where the flow goes: targets of `then`, tasks that nothing reaches, and names that are used twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate.generation.dsl.base import OpenDslModel
from tidegate.generation.dsl.findings import Finding, listed, pointer, shown
from tidegate.generation.dsl.semantics.walk import walk
from tidegate.generation.dsl.tasks import DoTask, RaiseTask, SwitchTask, TaskBase, TaskList, TryTask
from tidegate.generation.dsl.tasks.control import Fork
from tidegate.generation.dsl.workflow import Workflow

_DIRECTIVES = ("continue", "exit", "end")
"""To the next task; out of this list; to the end of the workflow. Anything else names a task of the same list."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Tasks that can go to each other: one task list.

    Attributes:
        path: Where the list is.
        names: The tasks' names in order.
        tasks: The tasks in order.
        in_sequence: Whether they run one after the other; the branches of a fork all start.
    """

    path: str
    names: tuple[str, ...]
    tasks: tuple[TaskBase, ...]
    in_sequence: bool

    def path_of(self, at: int) -> str:
        return pointer([at, self.names[at]], self.path)


def check_flow(workflow: Workflow) -> Iterator[Finding]:
    """Yield a finding for each wrong `then`, unreachable task, name used twice, and second default case of a switch.

    A `then` may only name a task of the same list (DSL 1.0.0, «Task Flow»). A task is reachable if it is the first of
    its list, or a reachable one falls through or jumps to it. A task with `if` may always fall through.
    """
    for scope in _scopes(workflow):
        first = _first_positions(scope.names)
        yield from _check_names(scope, first)
        for at, task in enumerate(scope.tasks):
            yield from _check_targets(task, scope.path_of(at), first)
        if scope.in_sequence:
            reached = _reached(scope.names, scope.tasks)
            for at in range(len(scope.tasks)):
                if at not in reached:
                    problem = "can never run: no task before it goes on to it, and no then leads to it"
                    yield Finding(scope.path_of(at), problem)
    for name, function in ((workflow.use and workflow.use.functions) or {}).items():
        yield from _check_targets(function, pointer(["use", "functions", name]), {})  # there are no tasks beside it


def _scopes(workflow: Workflow) -> Iterator[_Scope]:
    yield from _scopes_in(workflow, "")
    for place in walk(workflow):
        if isinstance(place.value, OpenDslModel):
            yield from _scopes_in(place.value, place.path)


def _scopes_in(model: OpenDslModel, path: str) -> Iterator[_Scope]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, list):
            entries = [entry for item in value if isinstance(item, dict) for entry in item.items()]
            tasks = tuple(task for _, task in entries if isinstance(task, TaskBase))
            if tasks:
                names = tuple(name for name, _ in entries)
                yield _Scope(pointer([field.alias or name], path), names, tasks, not isinstance(model, Fork))


def _check_names(scope: _Scope, first: Mapping[str, int]) -> Iterator[Finding]:
    for at, name in enumerate(scope.names):
        if first[name] != at:
            problem = f"is a second task named {shown(name)} in this list; each name must be unique there"
            yield Finding(scope.path_of(at), problem)


def _check_targets(task: TaskBase, path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    if task.then is not None:
        yield from _check_target(task.then, f"{path}/then", names)
    if isinstance(task, SwitchTask):
        yield from _check_switch(task, f"{path}/switch", names)


def _check_target(then: str, path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    if then not in _DIRECTIVES and then not in names:
        allowed = f"{', '.join(_DIRECTIVES)}; tasks: {listed(names)}"
        yield Finding(path, f"is {shown(then)}, which is no task of the same list; allowed: {allowed}")


def _check_switch(task: SwitchTask, path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    seen: set[str] = set()
    has_default = False
    for at, item in enumerate(task.switch):
        for name, case in item.items():
            yield from _check_target(case.then, pointer([at, name, "then"], path), names)
            if name in seen:
                problem = f"is a second case named {shown(name)} in this switch; each name must be unique there"
                yield Finding(pointer([at, name], path), problem)
            if case.when is None and has_default:
                problem = "is a second case without when; only one case may be the default"
                yield Finding(pointer([at, name], path), problem)
            seen.add(name)
            has_default = has_default or case.when is None


def _reached(names: Sequence[str], tasks: Sequence[TaskBase]) -> set[int]:
    """Return the positions of the tasks that can run; the position after the last one is there if the list can end."""
    first = _first_positions(names)
    reached: set[int] = set()
    ahead = [0]
    while ahead:
        at = ahead.pop()
        if at not in reached:
            reached.add(at)
            if at < len(tasks):
                ahead += [to for then in _ways_on(tasks[at]) for to in _positions(then, at, first, len(names))]
    return reached


def _positions(then: str, at: int, first: Mapping[str, int], end_of_list: int) -> list[int]:
    if then == "end":
        return []
    if then == "exit":
        return [end_of_list]
    # A target that does not exist has a finding of its own; going on here keeps the rest from getting one too.
    return [at + 1 if then == "continue" else first.get(then, at + 1)]


def _first_positions(names: Sequence[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        first.setdefault(name, at)
    return first


def _ways_on(task: TaskBase) -> list[str]:
    """Return every `then` that a task can follow when it is done; none if it never completes."""
    ways = ["continue"] if task.if_ is not None else []
    own = task.then or "continue"
    if isinstance(task, SwitchTask):
        cases = [case for item in task.switch for case in item.values()]
        ways += [case.then for case in cases]
        return ways if any(case.when is None for case in cases) else [*ways, own]
    return [*ways, own] if _can_complete(task) else ways


def _can_complete(task: TaskBase) -> bool:
    if isinstance(task, RaiseTask):
        return False
    if isinstance(task, DoTask):
        return _can_end(task.do)
    if isinstance(task, TryTask):
        return _can_end(task.try_) or _can_end(task.catch.do or [])
    return True


def _can_end(items: TaskList) -> bool:
    entries = [entry for item in items for entry in item.items()]
    return len(entries) in _reached([name for name, _ in entries], [task for _, task in entries])
