"""Runs tests against changes, each in a process forked from one that has collected the tests."""

import gc
import mmap
import os
import resource
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import pytest

from mutation.changes import Change
from mutation.reach import Reach, known_reach, measure
from mutation.record import Record

_SURVIVED: Final = 0
_NOTICED: Final = 3  # like any other exit status
_CPU_TIMES: Final = 4.0  # a test hangs if it takes this many times its usual CPU time plus a quarter of a second
_WALL_SECONDS: Final = 600.0  # for tests that wait forever and use no CPU time
_MEMORY_BYTES: Final = 4 << 30
_SAVE_EVERY: Final = 50


class Trials:
    """A pytest plugin that runs the tests against each change.

    `each` is called with every change and whether a test noticed it, in order of completion.
    """

    def __init__(self, changes: Sequence[Change], processes: int, each: Callable[[Change, bool], None]) -> None:
        self._waiting = list(reversed(changes))
        self._processes = processes
        self._each = each
        self._running: dict[int, tuple[Change, list[pytest.Item], mmap.mmap]] = {}
        self._killers: dict[str, Counter[str]] = defaultdict(Counter)
        self._forked = False
        self._ended = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure missing reach, then try every change."""
        self._items = {item.nodeid: item for item in session.items}
        self._record = Record({item.path for item in session.items})
        self._reach = self._measured(session.items)
        gc.collect()
        gc.freeze()
        try:
            while self._waiting or self._running:
                if self._waiting and len(self._running) < self._processes:
                    self._begin(self._waiting.pop())
                else:
                    self._await_one()
        finally:
            self._record.save()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Exit at the first failing test; no report is needed."""
        if self._forked and call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            os._exit(_NOTICED)

    def _measured(self, items: Sequence[pytest.Item]) -> dict[str, Reach]:
        """Measure in a separate process: caches filled by tests would hide changes from the trials."""
        if any(self._record.reach_of(item.path) is None for item in items):
            place = mmap.mmap(-1, 4)
            positions = {item: index.to_bytes(4, "little") for index, item in enumerate(items)}

            def run(item: pytest.Item) -> None:
                place[:] = positions[item]
                _run(item, None)

            pid = os.fork()
            if pid == 0:
                self._forked = True
                _silence()
                measure([item for item in items if self._record.reach_of(item.path) is None], self._record, run)
                self._record.save()
                os._exit(_SURVIVED)
            if os.waitpid(pid, 0)[1] != 0:
                raise pytest.UsageError(f"fails without any change: {items[int.from_bytes(place[:], 'little')].nodeid}")
            self._record = Record({item.path for item in items})
        return known_reach(items, self._record)

    def _begin(self, change: Change) -> None:
        known = self._record.noticed_by(change)
        if known is not None and known[1] and known[0] in self._items:
            self._end(change, known[0])
            return
        if self._record.survived(change):
            self._end(change, None)
            return
        items = self._tests_for(change, known[0] if known else None)
        place = mmap.mmap(-1, 4)
        pid = os.fork()
        if pid == 0:
            self._forked = True
            self._try(change, items, place)
        self._running[pid] = (change, items, place)

    def _tests_for(self, change: Change, killer: str | None) -> list[pytest.Item]:
        """Tests in order: its last killer, killers in the function, the module's own tests, then the fastest."""
        reaching = [
            test
            for test, reach in self._reach.items()
            if not reach.lines.get(change.module, frozenset()).isdisjoint(change.lines)
        ]
        killers = self._killers[change.where]
        own = f"test_{change.module}.py::"
        reaching.sort(key=lambda test: (test != killer, -killers[test], own not in test, self._reach[test].seconds))
        return [self._items[test] for test in reaching if test in self._items]

    def _try(self, change: Change, items: list[pytest.Item], place: mmap.mmap) -> NoReturn:
        _silence()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        try:
            change.install()
            for index, item in enumerate(items):
                place[:] = index.to_bytes(4, "little")
                signal.setitimer(signal.ITIMER_PROF, 0.25 + _CPU_TIMES * self._reach[item.nodeid].seconds)
                signal.setitimer(signal.ITIMER_REAL, _WALL_SECONDS)
                _run(item, items[index + 1] if index + 1 < len(items) else None)
        except BaseException:  # noqa: BLE001 (any exception means that the change was noticed)
            os._exit(_NOTICED)
        os._exit(_SURVIVED)

    def _await_one(self) -> None:
        pid, status = os.wait()
        change, items, place = self._running.pop(pid)
        if status == 0:
            self._end(change, None)
            return
        test = items[int.from_bytes(place[:], "little")].nodeid if items else None
        if test is None:  # the changed definition failed; no test reaches it
            self._each(change, True)  # noqa: FBT003
            return
        self._killers[change.where][test] += 1
        self._end(change, test)

    def _end(self, change: Change, test: str | None) -> None:
        self._record.note(change, test, None if test is None else self._items[test].path)
        self._ended += 1
        if self._ended % _SAVE_EVERY == 0:
            self._record.save()
        self._each(change, test is not None)


def _run(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _silence() -> None:
    with Path(os.devnull).open("wb") as nowhere:
        sys.stdout.flush()
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
