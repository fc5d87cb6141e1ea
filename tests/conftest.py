"""Settings for all tests: hypothesis profiles, and the check that no task outlives its event loop."""

import asyncio
import asyncio.runners
import inspect
from collections.abc import Generator
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings

# No deadline: timing is unreliable on a busy machine. Select a profile with `--hypothesis-profile=thorough`.
settings.register_profile("quick", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2_000, print_blob=True)
# For mutation testing: few and equal examples for each change, no database, no shrinking.
settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=10,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("quick")


def _left_behind(task: asyncio.Task[object]) -> bool:
    """Whether a test should have awaited the task; two kinds belong to the event loop."""
    coroutine = task.get_coro()
    closes_a_dropped_generator = not inspect.iscoroutine(coroutine)
    accepts_a_connection = getattr(coroutine, "__name__", "") == "_accept_connection2"
    return not (closes_a_dropped_generator or accepts_a_connection)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Fail a test that leaves a task running, which `asyncio.run` would cancel silently."""
    left_behind: list[str] = []
    cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]  # no public way in

    def note_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
        left_behind.extend(repr(task) for task in asyncio.all_tasks(loop) if _left_behind(task))
        cancel_all_tasks(loop)

    with patch.object(asyncio.runners, "_cancel_all_tasks", note_and_cancel):
        result = yield
    assert not left_behind, "tasks were still running when their event loop ended:\n" + "\n".join(left_behind)
    return result
