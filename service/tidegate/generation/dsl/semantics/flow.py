"""Checks the flow of tasks: targets of `then`, tasks that cannot be reached, and names that are used twice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tidegate.generation.dsl.findings import Finding, listed, pointer, shown
from tidegate.generation.dsl.parts import Part, TaskEntry, entries

__all__ = ["check_flow"]

_DIRECTIVES: Final = ("continue", "exit", "end")
"""To the next task, out of this list, to the end of the workflow. Anything else names a task of the same list."""

_Task = Mapping[str, Any]


def check_flow(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields a finding for each wrong `then`, unreachable task, name used twice, and second default case of a switch.

    A `then` may only name a task of the same list (reference of the DSL, "Flow Directive"). The first task of a list
    is reachable, and so are those that a reachable task continues with or jumps to. A task with `if` may be skipped.
    """
    reach = _Reach()
    for part in parts:
        for tasks in part.task_lists():
            first = _first_positions(tasks)
            reached = range(len(tasks)) if part.keyword == "fork" else reach.of(tasks)  # all branches of a fork start
            for position, (path, name, task) in enumerate(tasks):
                if first[name] != position:
                    yield Finding(
                        path, f"is a second task named {shown(name)} in this list; each name must be unique there"
                    )
                yield from _check_targets(task, path, first)
                if position not in reached:
                    yield Finding(path, "can never run: no task before it continues with it, and no then leads to it")
    for name, function in parts[0].value.get("use", {}).get("functions", {}).items():
        yield from _check_targets(function, pointer(["use", "functions", name]), {})  # it is not in a list


def _check_targets(task: _Task, path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    if "then" in task:
        yield from _check_target(task["then"], f"{path}/then", names)
    if "switch" in task:
        yield from _check_switch(task["switch"], f"{path}/switch", names)


def _check_target(then: str, path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    if then not in _DIRECTIVES and then not in names:
        allowed = f"{', '.join(_DIRECTIVES)}; tasks: {listed(names)}"
        yield Finding(path, f"is {shown(then)}, which is no task of the same list; allowed: {allowed}")


def _check_switch(switch: Sequence[Mapping[str, Any]], path: str, names: Mapping[str, int]) -> Iterator[Finding]:
    seen: set[str] = set()
    has_default = False
    for position, item in enumerate(switch):
        for name, case in item.items():
            yield from _check_target(case["then"], pointer([position, name, "then"], path), names)
            if name in seen:
                problem = f"is a second case named {shown(name)} in this switch; each name must be unique there"
                yield Finding(pointer([position, name], path), problem)
            if "when" not in case and has_default:
                problem = "is a second case without when; only one case may be the default"
                yield Finding(pointer([position, name], path), problem)
            seen.add(name)
            has_default = has_default or "when" not in case


class _Reach:
    """Computes which tasks can run, once for each list of tasks."""

    def __init__(self) -> None:
        self._can_end: dict[int, bool] = {}

    def of(self, tasks: Sequence[TaskEntry]) -> set[int]:
        """Returns the positions of the tasks that can run, and the position after the last one if the list can end."""
        first = _first_positions(tasks)
        reached: set[int] = set()
        ahead = [0]
        while ahead:
            position = ahead.pop()
            if position not in reached:
                reached.add(position)
                if position < len(tasks):
                    exits = self._exits(tasks[position].task)
                    ahead += [to for then in exits for to in _positions(then, position, first, len(tasks))]
        return reached

    def _exits(self, task: _Task) -> list[str]:
        """Returns every `then` that a task can follow when it is done; none if it never completes."""
        exits = ["continue"] if "if" in task else []
        own = task.get("then", "continue")
        if "switch" in task:
            cases = [case for item in task["switch"] for case in item.values()]
            exits += [case["then"] for case in cases]
            return exits if any("when" not in case for case in cases) else [*exits, own]
        return [*exits, own] if self._can_complete(task) else exits

    def _can_complete(self, task: _Task) -> bool:
        if "raise" in task:
            return False
        if "try" in task:
            return self._ends(task["try"]) or self._ends(task["catch"].get("do", []))
        if "do" in task and "for" not in task:  # a loop may have nothing to iterate over
            return self._ends(task["do"])
        return True

    def _ends(self, items: Sequence[_Task]) -> bool:
        if id(items) not in self._can_end:
            tasks = tuple(entries(items, ""))
            self._can_end[id(items)] = len(tasks) in self.of(tasks)
        return self._can_end[id(items)]


def _positions(then: str, position: int, first: Mapping[str, int], end_of_list: int) -> list[int]:
    if then == "end":
        return []
    if then == "exit":
        return [end_of_list]
    # A target that does not exist has a finding. Continuing here keeps the tasks after it from getting one too.
    return [position + 1 if then == "continue" else first.get(then, position + 1)]


def _first_positions(tasks: Sequence[TaskEntry]) -> dict[str, int]:
    first: dict[str, int] = {}
    for position, entry in enumerate(tasks):
        first.setdefault(entry.name, position)
    return first
