"""Measures which tests execute which lines of the core, and their CPU time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from coverage import Coverage

from mutation.changes import CORE
from mutation.record import Record


@dataclass(frozen=True)
class Reach:
    """The reach of one test: CPU seconds under coverage, and executed lines by module."""

    seconds: float
    lines: dict[str, frozenset[int]]


def known_reach(items: Sequence[pytest.Item], record: Record) -> dict[str, Reach]:
    """Recorded reach by test."""
    found: dict[str, Reach] = {}
    for path in {item.path for item in items}:
        for test, (seconds, lines) in (record.reach_of(path) or {}).items():
            found[test] = Reach(seconds, {module: frozenset(numbers) for module, numbers in lines.items()})
    return found


def measure(items: Sequence[pytest.Item], record: Record, run: Callable[[pytest.Item], None]) -> None:
    """Run the tests of whole files, and record their reach."""
    seconds: dict[str, float] = {}
    with TemporaryDirectory(prefix="tidegate-mutation-") as folder:
        coverage = Coverage(str(Path(folder) / "data"), config_file=False, include=[f"{CORE}/*"])
        coverage.start()
        for item in items:
            coverage.switch_context(item.nodeid)
            began = time.process_time()
            run(item)
            seconds[item.nodeid] = time.process_time() - began
        coverage.stop()
        data = coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = {item.nodeid: {} for item in items}
        for name in data.measured_files():
            for number, tests in data.contexts_by_lineno(name).items():
                for test in tests:
                    if test:
                        lines[test].setdefault(Path(name).stem, []).append(number)
        coverage.erase()
    for path in {item.path for item in items}:
        record.note_reach(path, {i.nodeid: (seconds[i.nodeid], lines[i.nodeid]) for i in items if i.path == path})
