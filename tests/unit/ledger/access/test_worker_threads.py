"""Threads that wait in place of the event loop."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from support.programs import output_of
from tidegate.ledger.access.worker_threads import WorkerThreads

HANGS = """
import asyncio, time
from tidegate.ledger.access.worker_threads import WorkerThreads
threads = WorkerThreads(1, "x")
try:
    asyncio.run(threads.run(lambda: time.sleep(600), 0.01))
except TimeoutError:
    print("too late")
"""


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    threads = WorkerThreads(2, "worker")
    yield threads
    threads.close()


def fail() -> None:
    raise ValueError("told")


def test_a_result_and_an_error_are_passed_on(threads: WorkerThreads) -> None:
    async def steps() -> None:
        assert await threads.run(lambda: 1, 10) == 1
        assert await threads.run(threading.get_ident, 10) != threading.get_ident()
        with pytest.raises(ValueError, match="told"):
            await threads.run(fail, 10)

    asyncio.run(steps())


def test_work_that_nobody_waits_for_any_more_is_not_begun(threads: WorkerThreads) -> None:
    goes_on, begun = threading.Event(), []

    async def steps() -> None:
        for _ in range(2):  # as many as there are threads
            with pytest.raises(TimeoutError):
                await threads.run(goes_on.wait, 0.01)
        with pytest.raises(TimeoutError):
            await threads.run(lambda: begun.append(1), 0.01)
        goes_on.set()
        assert await threads.run(lambda: 2, 10) == 2

    asyncio.run(steps())
    assert begun == []


def test_the_end_of_the_loop_ends_no_thread(threads: WorkerThreads) -> None:
    goes_on = threading.Event()

    async def leave() -> None:
        await threads.run(goes_on.wait, 0.01)

    async def again() -> int:
        return await threads.run(lambda: 3, 10)

    with pytest.raises(TimeoutError):
        asyncio.run(leave())
    goes_on.set()
    assert asyncio.run(again()) == 3


def test_a_process_ends_although_its_work_hangs() -> None:
    assert output_of(sys.executable, "-c", HANGS) == "too late\n"
