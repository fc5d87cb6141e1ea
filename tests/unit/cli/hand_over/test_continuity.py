"""One process takes over from another one: both in this process, over a real socket in a state folder."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tidegate.cli.hand_over import Continuity, new_process, old_process
from tidegate.cli.hand_over.new_process import Predecessor, TakeOverFailed
from tidegate.cli.hand_over.protocol import Request, Taken, frame, short_path
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.errors import ConfigurationError, UnreadableState
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SystemClock
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import SwitchableStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
TWO = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=1, capacity=2)})}


class Process:
    """The parts of one process."""

    def __init__(self, continuity: Continuity) -> None:
        self.continuity = continuity
        clock = SystemClock()
        self.memory = MemoryStore(clock, TWO)
        self.store = SwitchableStore(self.memory)
        self.admission = Admission(self.store, clock)
        self.limiter = RateLimiter(RateLimitConfig(), store=self.store, admission=self.admission)

    @property
    def load(self) -> tuple[int, int]:
        """Calls in flight and waiting."""
        (pool,) = self.memory.snapshot_now("p")
        return pool.in_flight, pool.waiting


@asynccontextmanager
async def process(folder: Path, *, take_over: bool = False, shares: bool = False) -> AsyncIterator[Process]:
    """One process. `shares`: its pools are in a store that it shares, and not in `memory`."""
    with Continuity.of(folder, take_over=take_over) as continuity:
        started = Process(continuity)
        memory = None if shares else started.memory
        await continuity.attach(started.store, memory, started.admission, started.limiter)
        async with continuity.saver.saving():
            yield started


@asynccontextmanager
async def first_process(
    folder: Path, *, shares: bool = False
) -> AsyncIterator[tuple[Process, "asyncio.Future[None]", socket.socket]]:
    """A process that can be replaced, with a listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with (
            process(folder, shares=shares) as first,
            first.continuity.handing_over({"main": listener}) as handed_over,
        ):
            first.memory.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
            yield first, handed_over, listener
            await first.continuity.leave(0)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(limited())


async def logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Waits until a text is in the log."""
    while text not in caplog.text:  # noqa: ASYNC110 - the log is no event
        await asyncio.sleep(0.001)


def test_sockets_lock_state_and_calls_are_handed_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with first_process(tmp_path) as (first, handed_over, listener):
            first.limiter.update_config(RateLimitConfig(requests_per_minute=77))
            leases = [await first.admission.acquire(ONE) for _ in range(2)]
            waiting = asyncio.create_task(first.admission.acquire(ONE))
            await asyncio.sleep(0)
            async with process(tmp_path, take_over=True) as second:
                assert second.continuity.takes_over
                inherited = await second.continuity.take_over()
                assert inherited["main"].getsockname() == listener.getsockname()
                inherited["main"].close()
                assert not handed_over.done()
                await second.continuity.confirm()
                await handed_over
                assert second.limiter.config.requests_per_minute == 77
                assert second.load == (2, 1)
                await leases[0].end(Outcome.RELEASED)
                lease = await waiting
                await lease.end(Outcome.RELEASED)
                await leases[1].end(Outcome.RELEASED)
                with pytest.raises(ConfigurationError):
                    async with process(tmp_path):
                        pass
                await second.continuity.leave(0.01)
        assert (tmp_path / "state").exists()

    run(main)


def test_of_processes_that_share_a_store_each_keeps_its_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with first_process(tmp_path, shares=True) as (first, handed_over, listener):
            lease = await first.admission.acquire(ONE)
            async with process(tmp_path, take_over=True, shares=True) as second:
                inherited = await second.continuity.take_over()
                assert inherited["main"].getsockname() == listener.getsockname()
                inherited["main"].close()
                await first.admission.acquire(ONE)  # calls are admitted all the while
                await second.continuity.confirm()
                await handed_over
                assert first.load == (2, 0)
                await lease.end(Outcome.RELEASED)
                await second.continuity.leave(0)
        assert "share the store" in caplog.text

    with caplog.at_level(logging.INFO):
        run(main)


@pytest.mark.parametrize("shares", [True, False])
def test_a_process_with_a_shared_store_replaces_only_one_with_a_shared_store(
    *, shares: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with first_process(tmp_path, shares=shares) as (first, handed_over, _):
            async with process(tmp_path, take_over=True, shares=not shares) as second:
                with pytest.raises(TakeOverFailed, match="only one of the two has a shared store"):
                    await second.continuity.take_over()
            await logged("this one goes on", caplog)
            await first.admission.acquire(ONE)
            assert not handed_over.done()

    run(main)


def test_a_new_process_that_fails_leaves_the_old_one_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with first_process(tmp_path) as (first, handed_over, _):
            leases = [await first.admission.acquire(ONE) for _ in range(2)]
            for _ in range(2):
                async with process(tmp_path, take_over=True) as second:
                    for each in (await second.continuity.take_over()).values():
                        each.close()
                    waiting = asyncio.create_task(first.admission.acquire(ONE))
                    await asyncio.sleep(0)
                    assert second.load == (2, 0)
                await logged("this one goes on", caplog)
                caplog.clear()
                assert first.load == (2, 1)
                await leases.pop().end(Outcome.RELEASED)
                leases.append(await waiting)
            assert not handed_over.done()

    run(main)


@pytest.mark.parametrize("message", [b"\x00\x00\x00\x01\xff", frame(Taken()), b""])
def test_a_process_that_asks_wrongly_is_turned_away(
    message: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with first_process(tmp_path) as (first, handed_over, _):
            with short_path(tmp_path, "take-over") as path:
                reader, writer = await asyncio.open_unix_connection(path)
            writer.write(message)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            assert "this one goes on" in caplog.text
            assert not handed_over.done()
            await first.admission.acquire(ONE)

    run(main)


def test_another_version_of_the_protocol_is_declined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(new_process, "PROTOCOL_VERSION", 99)

    async def main() -> None:
        async with first_process(tmp_path), process(tmp_path, take_over=True) as second:
            with pytest.raises(TakeOverFailed, match=r"hands over by version 99 of the protocol"):
                await second.continuity.take_over()
        assert "hands over by version 99 of the protocol" in caplog.text

    run(main)


def test_a_state_of_another_version_leaves_the_old_process_in_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with first_process(tmp_path) as (_, handed_over, _), process(tmp_path, take_over=True) as second:

            def fail(_data: bytes) -> None:
                raise UnreadableState("the state has version 7")

            monkeypatch.setattr(second.continuity.saver, "take_over", fail)
            with pytest.raises(TakeOverFailed, match=r"goes on: the state has version 7"):
                await second.continuity.take_over()
            assert not handed_over.done()

    run(main)


def test_an_old_process_that_gave_up_waiting_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_process, "ANSWER_SECONDS", 0.1)

    async def main() -> None:
        async with first_process(tmp_path) as (first, handed_over, _), process(tmp_path, take_over=True) as second:
            for each in (await second.continuity.take_over()).values():
                each.close()
            await asyncio.sleep(0.3)
            with pytest.raises(TakeOverFailed, match=r"the running process goes on"):
                await second.continuity.confirm()
            assert not handed_over.done()
            await first.admission.acquire(ONE)

    run(main)


def answers(folder: Path, answer: bytes) -> tuple[socket.socket, Predecessor]:
    """A process that answers wrongly, and the new one's view of it."""
    listener = socket.socket(socket.AF_UNIX)
    with short_path(folder, "take-over") as path:
        listener.bind(path)
    listener.listen()
    predecessor = Predecessor.find(folder)
    assert predecessor is not None
    connection, _ = listener.accept()
    connection.sendall(answer)
    connection.shutdown(socket.SHUT_WR)
    listener.close()
    return connection, predecessor


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x00\x05\xff", frame(Taken()), frame(Request(1, "", 1))])
def test_a_running_process_that_answers_wrongly_is_not_replaced(answer: bytes, tmp_path: Path) -> None:
    with ExitStack() as stack:
        connection, predecessor = answers(tmp_path, answer)
        stack.enter_context(connection)
        stack.callback(predecessor.close)
        with pytest.raises(TakeOverFailed, match=r"the running process"):
            asyncio.run(predecessor.ask())


def test_without_a_running_process_there_is_no_predecessor(tmp_path: Path) -> None:
    assert Predecessor.find(tmp_path / "none") is None
    assert Predecessor.find(tmp_path) is None
    with socket.socket(socket.AF_UNIX) as ended, short_path(tmp_path, "take-over") as path:
        ended.bind(path)
    assert Predecessor.find(tmp_path) is None

    async def main() -> None:
        async with process(tmp_path, take_over=True) as only:
            assert not only.continuity.takes_over
            assert await only.continuity.take_over() == {}
            await only.continuity.confirm()
            await only.continuity.leave(1)

    run(main)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
