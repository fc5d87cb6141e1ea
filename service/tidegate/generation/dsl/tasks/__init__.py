"""The twelve kinds of tasks of DSL 1.0.0. Importing this package makes all of them known to `Task`."""

from tidegate.generation.dsl.tasks.base import Task, TaskBase, TaskList
from tidegate.generation.dsl.tasks.call import CallFunction, CallTask
from tidegate.generation.dsl.tasks.control import DoTask, ForkTask, ForTask, TryTask
from tidegate.generation.dsl.tasks.listen import ListenTask
from tidegate.generation.dsl.tasks.run import RunTask
from tidegate.generation.dsl.tasks.simple import EmitTask, RaiseTask, SetTask, SwitchTask, WaitTask

__all__ = [
    "CallFunction",
    "CallTask",
    "DoTask",
    "EmitTask",
    "ForTask",
    "ForkTask",
    "ListenTask",
    "RaiseTask",
    "RunTask",
    "SetTask",
    "SwitchTask",
    "Task",
    "TaskBase",
    "TaskList",
    "TryTask",
    "WaitTask",
]
