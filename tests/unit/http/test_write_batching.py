"""The moments at which a write batcher writes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from tidegate.http.write_batching import WriteBatcher

SMALL, LARGE = 100, 1_000_000
BUSY = "1", "2", "3"
"""More than few writes."""


class Turns:
    """A write batcher, and the time of each write."""

    def __init__(self) -> None:
        self.write_batcher = WriteBatcher()
        self.written: list[str] = []

    def put(self, *names: str, size_bytes: int = SMALL) -> list[str]:
        """Puts writes of these names; returns the names written so far."""
        for name in names:
            self.write_batcher.put(partial(self.written.append, name), size_bytes)
        return self.written.copy()

    async def end(self) -> list[str]:
        """Ends the turn."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.written.copy()


def run(steps: Callable[[Turns], Awaitable[None]]) -> None:
    async def main() -> None:
        await steps(Turns())

    asyncio.run(main())


def test_a_lonely_write_is_done_at_once() -> None:
    async def steps(turns: Turns) -> None:
        assert turns.put("a") == ["a"]
        await turns.end()
        assert turns.put("b") == ["a", "b"]

    run(steps)


def test_after_a_busy_turn_writes_are_gathered_until_the_next_one_ends() -> None:
    async def steps(turns: Turns) -> None:
        turns.put(*BUSY)
        await turns.end()
        assert turns.put("c", "d") == [*BUSY]
        assert await turns.end() == [*BUSY, "c", "d"]

    run(steps)


def test_of_two_that_come_at_once_none_waits_for_the_other() -> None:
    async def steps(turns: Turns) -> None:
        turns.put("a", "b")
        await turns.end()
        assert turns.put("c", "d") == ["a", "b", "c", "d"]

    run(steps)


def test_after_a_turn_with_one_write_nothing_is_gathered() -> None:
    async def steps(turns: Turns) -> None:
        turns.put(*BUSY)
        await turns.end()
        assert turns.put("c") == [*BUSY]
        await turns.end()
        assert turns.put("d") == [*BUSY, "c", "d"]

    run(steps)


def test_a_large_write_does_not_wait() -> None:
    async def steps(turns: Turns) -> None:
        turns.put(*BUSY)
        await turns.end()
        turns.put("c")
        assert turns.put("d", size_bytes=LARGE) == [*BUSY, "d"]

    run(steps)


def test_a_turn_of_many_writes_is_written_in_between() -> None:
    async def steps(turns: Turns) -> None:
        turns.put(*BUSY)
        await turns.end()
        names = [str(number) for number in range(20)]
        assert turns.put(*names) == [*BUSY, *names[:16]]
        assert (await turns.end())[3:] == names

    run(steps)


def test_a_write_that_fails_keeps_no_other_from_being_done() -> None:
    reported: list[object] = []

    def fails() -> None:
        raise OSError("gone")

    async def steps(turns: Turns) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: reported.append(told["exception"]))
        turns.put(*BUSY)
        await turns.end()
        turns.put("c")
        turns.write_batcher.put(fails, SMALL)
        turns.put("d")
        assert await turns.end() == [*BUSY, "c", "d"]

    run(steps)
    assert [type(error) for error in reported] == [OSError]


@given(st.lists(st.lists(st.sampled_from([SMALL, LARGE]), max_size=40), max_size=8))
def test_everything_is_written_once_and_before_its_turn_ends(turns_of_sizes: list[list[int]]) -> None:
    async def steps(turns: Turns) -> None:
        put = 0
        for sizes in turns_of_sizes:
            for size_bytes in sizes:
                turns.put(str(put), size_bytes=size_bytes)
                put += 1
            assert sorted(await turns.end(), key=int) == [str(number) for number in range(put)]

    run(steps)
