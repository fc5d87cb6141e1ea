"""Owners of objects in the ledger: as two processes see them, and while the database hangs."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import Connection

from support.ledgers import everything
from support.postgresql_server import PostgresqlServer
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import LedgerUnavailable, Refusal
from tidegate.core.ports.ownership import Owner
from tidegate.ledger.access import object_owners
from tidegate.ledger.access.object_owners import ObjectOwners
from tidegate.ledger.database import Database

PATIENCE_SECONDS = 60
ANN, BOB = Owner("red", "ann"), Owner("blue", "bob")


@pytest.fixture
def owners(database: Database) -> Iterator[ObjectOwners]:
    owners = ObjectOwners(database)
    yield owners
    owners.close()


@pytest.fixture
def other(url: str) -> Iterator[ObjectOwners]:
    """The owners as another process sees them."""
    database = Database(url)
    owners = ObjectOwners(database)
    yield owners
    owners.close()
    database.close()


class BrokenDatabase(Database):
    """Does not answer while it is broken."""

    is_broken = True

    @contextmanager
    def begin(self, options: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Connection]:
        if self.is_broken:
            raise LedgerUnavailable("told")
        with super().begin(options) as connection:
            yield connection


@pytest.fixture
def broken(url: str) -> Iterator[BrokenDatabase]:
    database = BrokenDatabase(url)
    yield database
    database.close()


def test_an_owner_is_known_everywhere_once_it_is_recorded(owners: ObjectOwners, other: ObjectOwners) -> None:
    async def steps() -> None:
        assert await owners.owners(["a", "b"]) == {}
        await owners.record(["a", "b"], ANN)
        assert await other.owners(["a", "b", "c"]) == {"a": ANN, "b": ANN}
        assert await owners.owners(["b"]) == {"b": ANN}
        assert await owners.owners([]) == {}

    asyncio.run(steps())


@pytest.mark.parametrize("odd", ["file_\0", "file_\ud800"], ids=["NUL", "half a surrogate pair"])
def test_an_id_that_no_database_takes_has_no_owner(owners: ObjectOwners, odd: str) -> None:
    assert asyncio.run(owners.owners([odd])) == {}


def test_an_object_keeps_its_owner(owners: ObjectOwners, other: ObjectOwners) -> None:
    async def steps() -> None:
        await owners.record(["a"], ANN)
        await owners.record(["a"], BOB)
        await other.record(["a"], BOB)  # it does not know yet that there is one
        assert await other.owners(["a"]) == await owners.owners(["a"]) == {"a": ANN}

    asyncio.run(steps())


def test_a_deleted_object_is_forgotten(owners: ObjectOwners, other: ObjectOwners) -> None:
    async def steps() -> None:
        await owners.record(["a", "b"], ANN)
        await owners.forget("a")
        await owners.forget("never known")
        assert await owners.owners(["a", "b"]) == await other.owners(["a", "b"]) == {"b": ANN}

    asyncio.run(steps())


def test_owners_of_containers_are_forgotten_long_after_these_have_expired(database: Database) -> None:
    now, ids = 1_000_000.0, ("container_old", "containers_old", "file_old", "msgbatch_old")

    def remembered() -> set[str]:
        process = ObjectOwners(database, lambda: now)
        process.forget_expired()
        found = asyncio.run(process.owners([*ids, "container_new"]))
        process.close()
        return set(found)

    creator = ObjectOwners(database, lambda: now)
    asyncio.run(creator.record(ids, ANN))
    now += 86_400
    asyncio.run(creator.record(["container_new"], ANN))
    now += 399 * 86_400
    assert remembered() == {*ids, "container_new"}
    creator.forget_expired()
    now += 1
    assert remembered() == {*ids[1:], "container_new"}
    asyncio.run(creator.forget("container_new"))
    creator.close()


def test_many_ids_are_asked_at_once(owners: ObjectOwners, other: ObjectOwners) -> None:
    async def steps() -> None:
        ids = [f"x_{number}" for number in range(1_200)]
        await owners.record(ids[::2], ANN)
        assert list((await other.owners(ids)).values()) == [ANN] * 600

    asyncio.run(steps())


def test_memory_is_bounded(owners: ObjectOwners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_owners, "_MAX_KNOWN", 2)

    async def steps() -> None:
        for object_id in "abc":
            await owners.record([object_id], ANN)
        assert await owners.owners("abc") == dict.fromkeys("abc", ANN)
        assert len(owners._known) == 2

    asyncio.run(steps())


def test_what_cannot_be_written_is_kept_and_written_later(
    broken: BrokenDatabase, other: ObjectOwners, caplog: pytest.LogCaptureFixture
) -> None:
    owners = ObjectOwners(broken)

    async def steps() -> None:
        await owners.record(["a"], ANN)
        assert "kept in memory" in caplog.text
        assert await owners.owners(["a"]) == {"a": ANN}
        with pytest.raises(Refusal) as refused:
            await owners.owners(["a", "b"])
        assert refused.value.cause is Cause.LEDGER_UNAVAILABLE
        with pytest.raises(LedgerUnavailable):
            owners.flush()
        await owners.forget("c")
        broken.is_broken = False
        owners.flush()
        assert await other.owners(["a"]) == {"a": ANN}
        await owners.forget("a")
        assert await other.owners(["b"]) == {}

    asyncio.run(steps())
    owners.close()


def test_what_is_unwritten_is_bounded(
    broken: BrokenDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_owners, "_MAX_UNWRITTEN", 2)
    owners = ObjectOwners(broken)

    async def steps() -> None:
        await owners.record(["a", "b"], ANN)
        assert "belongs to nobody" not in caplog.text
        await owners.record(["c"], ANN)
        assert "belongs to nobody" in caplog.text
        assert await owners.owners(["a", "b"]) == {"a": ANN, "b": ANN}

    asyncio.run(steps())
    owners.close()


@pytest.mark.ledger
def test_a_database_that_hangs_delays_no_call_for_long(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_owners, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(object_owners, "_WRITE_SECONDS", 0.1)
    database = Database(postgresql.new_database())
    owners = ObjectOwners(database)

    async def steps() -> None:
        await owners.record(["a"], ANN)
        with postgresql.stopped():
            await owners.record(["b"], BOB)
            assert await owners.owners(["a", "b"]) == {"a": ANN, "b": BOB}
            for _ in range(6):  # more than there are threads
                with pytest.raises(Refusal):
                    await owners.owners(["c"])
            await owners.forget("a")
        for _ in range(200):  # until the threads are free again
            try:
                assert await owners.owners(["c"]) == {}
                break
            except Refusal:
                continue

    asyncio.run(steps())
    owners.flush()
    owners.close()
    second = ObjectOwners(database)
    assert asyncio.run(second.owners(["b"])) == {"b": BOB}
    second.close()
    assert everything(database).total.calls == 0
    for thread in threading.enumerate():
        if thread.name == "ownership":
            thread.join(PATIENCE_SECONDS)  # it may use a connection, which only it can return
    database.close()
