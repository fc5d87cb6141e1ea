"""Settings for all tests: hypothesis profiles, what coverage measures, and that no task or log level is left behind."""

import asyncio
import asyncio.runners
import gc
import importlib
import inspect
import logging
import os
import pkgutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, Phase, settings

from support.service_process import forked_services

# Until all tests are collected, nothing is garbage. Looking for it would take a third of the time.
gc.disable()

# No deadline: timing is unreliable on a busy machine. Select a profile with `--hypothesis-profile=full`.
# `quick` tries the same examples each time, so that the coverage of `make test` does not depend on chance.
settings.register_profile("quick", deadline=None, max_examples=15, print_blob=True, derandomize=True, database=None)
# `full` tries new ones, but not in CI: a change must not fail there for an older mistake that it has no part in.
settings.register_profile(
    "full", deadline=None, max_examples=50, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
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

_MEASURED = ("tests/unit/", "tests/integration/", "tests/property/dumps/", "tests/monitoring/")
"""Tests that reach nearly every line. Measuring doubles the CPU time of a test, so the others run without it."""
_UNMEASURED = "tests/monitoring/deploy/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure the coverage of some folders only. The marker is that of pytest-cov."""
    for item in items:
        if not item.nodeid.startswith(_MEASURED) or item.nodeid.startswith(_UNMEASURED):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Collect garbage again, but leave out the modules and tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _forked_services() -> Iterator[None]:
    with forked_services():
        yield


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure nothing while tests are collected: that takes half the time. Lines that run at import are measured first.

    The process that distributes tests to others measures nothing at all.
    """
    measuring = session.config.pluginmanager.getplugin("_cov")
    if measuring is None:
        return
    if not session.config.pluginmanager.hasplugin("dsession"):
        for package in ("tidegate", "claude_simulator", "services.dsl_generator"):
            for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
                if not module.name.endswith(("__main__", "migrations.env")):  # these run when they are imported
                    importlib.import_module(module.name)
    measuring.cov_controller.pause()
    # Beneath its own, a worker has the one that pytest-cov begins before it knows of the worker. It would go on.
    if (beneath := Coverage.current()) is not None:
        beneath.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Go on measuring."""
    manager = session.config.pluginmanager
    if (measuring := manager.getplugin("_cov")) is not None and not manager.hasplugin("dsession"):
        measuring.cov_controller.resume()
    return (yield)


def _left_behind(task: asyncio.Task[object]) -> bool:
    """Whether a test should have awaited the task; two kinds belong to the event loop."""
    coroutine = task.get_coro()
    closes_a_dropped_generator = not inspect.iscoroutine(coroutine)
    accepts_a_connection = getattr(coroutine, "__name__", "") == "_accept_connection2"
    return not (closes_a_dropped_generator or accepts_a_connection)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Undo what a command that is run inside of a test does to `logging`."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, "tidegate", "services")}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Fail a test that leaves a task running, which `asyncio.run` would cancel silently."""
    left_behind: list[str] = []
    cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]  # no public way in

    def note_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
        left_behind.extend(repr(task) for task in asyncio.all_tasks(loop) if _left_behind(task))
        cancel_all_tasks(loop)

    with patch.object(asyncio.runners, "_cancel_all_tasks", note_and_cancel), _logging_as_before():
        result = yield
    assert not left_behind, "tasks were still running when their event loop ended:\n" + "\n".join(left_behind)
    return result
