"""The promises of a shared log, on a real server, and on the one in memory that other tests use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from support.memory_log import LogServer, MemoryLog
from support.valkey_server import valkey_server
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.ports.store_address import StoreAddress
from tidegate.stores.valkey.log_fold import LogFold
from tidegate.stores.valkey.shared_log import START, Checkpoint, EntryId, LostLead, SharedLog, StoreLost
from tidegate.stores.valkey.valkey_log import ValkeyLog

Run = Callable[[Callable[[SharedLog], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as port:
        yield port


@asynccontextmanager
async def opened(address: StoreAddress) -> AsyncIterator[ValkeyLog]:
    log = ValkeyLog(address, timeout_seconds=5)
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture(params=["memory", "valkey"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on an empty log."""

    def on_valkey(test: Callable[[SharedLog], Awaitable[None]]) -> None:
        async def main() -> None:
            port = request.getfixturevalue("port")
            async with opened(StoreAddress("server", (("127.0.0.1", port),), prefix=request.node.name)) as log:
                await test(log)

        asyncio.run(main())

    def in_memory(test: Callable[[SharedLog], Awaitable[None]]) -> None:
        async def main() -> None:
            await test(MemoryLog(LogServer(clock)))

        clock = VirtualClock()
        run_virtual(main(), clock)

    return on_valkey if request.param == "valkey" else in_memory


def test_a_reader_gets_the_entries_after_the_last_one_it_knows(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        assert await log.last() == START
        names = [await log.append(payload) for payload in (b"one", b"two", b"three")]
        assert names == sorted(set(names))
        assert await log.last() == names[-1]
        assert [each.payload for each in await log.read(START, 0.05)] == [b"one", b"two", b"three"]
        assert [each.id for each in await log.read(names[1], 0.05)] == names[2:]
        assert not await log.read(names[2], 0.05)

    run(test)


def test_a_reader_waits_for_the_next_entry(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        reading = asyncio.create_task(log.read(START, 1.0))
        await asyncio.sleep(0.05)
        assert not reading.done()
        await log.append(b"now")
        assert [each.payload for each in await reading] == [b"now"]

    run(test)


def test_one_epoch_has_the_lead_until_it_ends(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        assert await log.take_lead("first", 0.2)
        assert not await log.take_lead("second", 0.2)
        await asyncio.sleep(0.15)
        await log.keep_lead("first", 0.2)
        await asyncio.sleep(0.1)
        with pytest.raises(LostLead):
            await log.keep_lead("second", 9)
        await log.keep_lead("first", 0.02)
        await asyncio.sleep(0.1)
        with pytest.raises(LostLead):
            await log.keep_lead("first", 9)
        assert await log.take_lead("second", 9)
        await log.give_up_lead("first")
        assert not await log.take_lead("first", 9)
        await log.give_up_lead("second")
        assert await log.take_lead("first", 9)

    run(test)


def test_only_the_leader_writes_to_mailboxes_and_the_checkpoint(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        await log.take_lead("leader", 9)
        await log.publish("leader", {"ann": b"to ann", "ben": b"to ben"})
        with pytest.raises(LostLead):
            await log.publish("other", {"ann": b"false"})
        (message,) = await log.receive("ann", START, 0.05)
        assert (message.epoch, message.payload) == ("leader", b"to ann")
        assert not await log.receive("ann", message.id, 0.05)
        with pytest.raises(LostLead):
            await log.save("other", Checkpoint("log", START, b"false"))
        assert await log.load() is None

    run(test)


def test_a_ping_leaves_no_entry(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        await log.ping()
        assert await log.last() == START

    run(test)


def test_a_server_that_refuses_writes_does_not_count_as_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def main() -> None:
        with valkey_server(tmp_path_factory.mktemp("full"), "--maxmemory", "1") as port:
            async with opened(StoreAddress("server", (("127.0.0.1", port),))) as log:
                with pytest.raises(StoreLost, match="maxmemory"):
                    await log.ping()

    asyncio.run(main())


def test_a_checkpoint_replaces_the_entries_that_are_ten_seconds_older_than_its_last(run: Run) -> None:
    async def test(log: SharedLog) -> None:
        await log.take_lead("leader", 9)
        names = [await log.append(payload) for payload in (b"one", b"two")]
        await asyncio.sleep(0.01)
        names.append(await log.append(b"three"))
        checkpoint = Checkpoint("log", EntryId(names[2].unix_ms + 10_000, 0), b"state")
        await log.save("leader", Checkpoint("log", names[2], b"earlier"))
        assert [each.payload for each in await log.read(START, 0.05)] == [b"one", b"two", b"three"]
        await log.save("leader", checkpoint)
        assert await log.load() == checkpoint
        assert [each.payload for each in await log.read(START, 0.05)] == [b"three"]
        await log.save("leader", Checkpoint("log", EntryId(names[2].unix_ms + 20_000, 0), b"later"))
        assert await log.last() == names[2]

    run(test)


def test_what_others_write_under_the_same_keys_stops_nobody(port: int) -> None:
    """Every replica that leads reads it. It would fail at each of them, and for ever."""
    address = StoreAddress("server", (("127.0.0.1", port),), prefix="shared-with-others")

    async def main() -> None:
        async with opened(address) as log:
            await log.take_lead("leader", 9)
            await log._client.xadd("{shared-with-others}:log", {"x": "y"})
            await log._client.xadd("{shared-with-others}:mailbox:r", {"x": "y"})
            await log.append(b"one")
            assert [each.payload for each in await log.read(START, 0)] == [b"", b"one"]
            assert [each.payload for each in await log.receive("r", START, 0)] == [b""]
            await log._client.set("{shared-with-others}:checkpoint", b"something else")
            checkpoint = await log.load()
            assert checkpoint is not None
            assert checkpoint.folded == START
            with pytest.raises(UnreadableState):
                LogFold.restore(checkpoint.state)

    asyncio.run(main())


def test_a_server_that_is_gone_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def main() -> None:
        with valkey_server(tmp_path_factory.mktemp("gone")) as port:
            address = StoreAddress("server", (("127.0.0.1", port),))
            async with opened(address) as log:
                await log.append(b"one")
        async with opened(address) as log:
            for command in (log.append(b"two"), log.read(START, 0.05), log.last(), log.load(), log.keep_lead("e", 1)):
                with pytest.raises(StoreLost):
                    await command

    asyncio.run(main())


def test_an_id_is_shown_as_the_server_shows_it() -> None:
    assert str(EntryId(1_795_000_000_123, 4)) == "1795000000123-4"
