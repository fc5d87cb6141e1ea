"""Keys in the ledger: their life, and what a process knows of them."""

import contextlib
import hashlib
from pathlib import Path

import pytest

from tidegate.core.domain.caller import Caller, Priority, Role
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable, Refusal
from tidegate.core.ports.key_store import NewCaller, NewKey, StoredKey
from tidegate.identity.identify import key_hash, new_key
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.access.key_cache import KeyCache
from tidegate.ledger.database import Database

WEB = NewCaller("web", "shop", Role.CALLER, 2.0, Priority.INTERACTIVE, ("claude-haiku-5-5",))
HOUR = 3_600


class Bench:
    """Keys of one database, with a clock that is set by hand, as two processes see them."""

    def __init__(self, database: Database) -> None:
        self.now = 1_795_000_000.0
        self.cache = KeyCache(database, lambda: self.now)
        self.other = KeyCache(database, lambda: self.now)
        self.keys = Keys(database, new_key, self.cache.refresh, lambda: self.now)

    def create(self, caller: NewCaller = WEB, expires_at: int | None = None) -> NewKey:
        return self.keys.create(caller, expires_at=expires_at, by="ann")

    def rotate(self, grace_seconds: int = HOUR) -> NewKey:
        return self.keys.rotate("web", grace_seconds=grace_seconds, by="ann")

    def is_valid(self, key: NewKey) -> bool:
        found = self.cache.find(key_hash(key.key))
        self.other.refresh()
        assert (self.other.find(key_hash(key.key)) is None) == (found is None)
        return found is not None


@pytest.fixture
def on(database: Database) -> Bench:
    return Bench(database)


def test_the_caller_of_an_admins_key_is_an_admin(on: Bench) -> None:
    made = on.create(NewCaller("root", "ops", Role.ADMIN))
    found = on.cache.find(key_hash(made.key))
    assert found is not None
    assert found.caller.is_admin


def test_a_key_is_found_with_the_caller_as_it_was_created(on: Bench) -> None:
    made = on.create()
    caller = Caller("web", "web", 2.0, Priority.INTERACTIVE, None, ("claude-haiku-5-5",), "shop", made.id)
    assert on.cache.find(key_hash(made.key)) == StoredKey(caller, Role.CALLER)
    assert on.cache.find(key_hash("another")) is None
    (listed,) = on.keys.all_keys()
    assert (listed.id, listed.caller, listed.team, listed.role, listed.created_by) == (
        *(made.id, "web", "shop", Role.CALLER, "ann"),
    )
    assert (listed.created_at, listed.state(on.now)) == (1_795_000_000, "valid")


def test_a_key_has_256_bits_and_only_its_hash_is_stored(database: Database, on: Bench) -> None:
    made = on.create()
    assert len(made.key) == len("tg_") + 43
    with database.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM keys JOIN callers ON callers.name = keys.caller").all())
    assert hashlib.sha256(made.key.encode()).hexdigest() in rows
    assert made.key not in rows


def test_during_a_rotation_two_keys_are_valid_and_then_the_new_one(on: Bench) -> None:
    old = on.create()
    new = on.rotate()
    assert (new.old_key, new.old_valid_until) == (old.id, 1_795_000_000 + HOUR)
    on.now += HOUR - 1
    assert on.is_valid(old)
    assert on.is_valid(new)
    on.now += 1
    assert not on.is_valid(old)
    assert on.is_valid(new)
    assert on.is_valid(on.rotate())


def test_a_third_key_is_refused_until_one_of_two_has_ended(on: Bench) -> None:
    old = on.create()
    on.rotate()
    with pytest.raises(ConfigurationError, match="name: got 'web', allowed is a caller with one valid key"):
        on.rotate()
    on.keys.revoke(old.id, by="ann")
    assert on.is_valid(on.rotate())


def test_a_rotation_prolongs_no_key(on: Bench) -> None:
    on.create(expires_at=1_795_000_060)
    new = on.rotate()
    assert (new.expires_at, new.old_valid_until) == (1_795_000_060, 1_795_000_060)


def test_a_key_expires_at_its_moment_without_another_look_at_the_database(on: Bench) -> None:
    made = on.create(expires_at=1_795_000_010)
    on.now += 9.9
    assert on.is_valid(made)
    on.now += 0.1
    assert on.cache.find(key_hash(made.key)) is None
    assert [each.state(on.now) for each in on.keys.all_keys()] == ["expired"]


def test_the_end_of_a_key_can_be_set_later(on: Bench) -> None:
    made = on.create()
    assert on.keys.expire(made.id, 1_795_000_100, by="ann").expires_at == 1_795_000_100
    on.now += 100
    assert not on.is_valid(made)


def test_a_revoked_key_ends_at_once_and_a_revoked_caller_with_all_keys(on: Bench) -> None:
    first = on.create()
    second = on.rotate()
    assert [each.id for each in on.keys.revoke(first.id, by="ann")] == [first.id]
    assert not on.is_valid(first)
    assert on.is_valid(second)
    assert [each.state(on.now) for each in on.keys.revoke("web", by="ann")] == ["revoked"]
    assert not on.is_valid(second)


def test_a_caller_whose_keys_have_ended_can_be_created_again_with_other_values(on: Bench) -> None:
    old = on.create()
    with pytest.raises(ConfigurationError, match="a caller without a valid key"):
        on.create()
    on.keys.revoke("web", by="ann")
    new = on.create(NewCaller("web", "ops", Role.ADMIN))
    assert not on.is_valid(old)
    found = on.cache.find(key_hash(new.key))
    assert found is not None
    assert (found.caller.team, found.role) == ("ops", Role.ADMIN)
    assert len(on.keys.all_keys()) == 2


def test_what_does_not_exist_or_lies_in_the_past_is_refused(on: Bench) -> None:
    made = on.create()
    for call in (
        lambda: on.keys.revoke("nobody", by="ann"),
        lambda: on.keys.rotate("nobody", grace_seconds=1, by="ann"),
        lambda: on.keys.expire("nobody", 1_796_000_000, by="ann"),
        lambda: on.keys.expire(made.id, 1_795_000_000, by="ann"),
        lambda: on.create(NewCaller("late", "shop"), expires_at=1),
    ):
        with pytest.raises(ConfigurationError):
            call()
    assert on.is_valid(made)


def test_whether_there_were_keys_is_unknown_then_known_and_never_forgotten(database: Database, on: Bench) -> None:
    assert on.cache.is_used is None
    with pytest.raises(Refusal) as raised:
        on.cache.find(key_hash("any"))
    assert raised.value.cause is Cause.LEDGER_UNAVAILABLE
    on.cache.refresh()
    assert on.cache.is_used is False
    on.create()
    on.keys.revoke("web", by="ann")
    assert on.cache.is_used is True
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM keys")
    on.cache.refresh()
    assert on.cache.is_used is True


def test_a_new_key_is_shown_although_the_keys_cannot_be_read_after_the_change(database: Database) -> None:
    def away() -> None:
        raise LedgerUnavailable("the connection broke")

    made = Keys(database, new_key, away).create(WEB, expires_at=None, by="ann")
    cache = KeyCache(database)
    cache.refresh()
    assert cache.find(key_hash(made.key)) is not None


def test_a_process_is_told_of_callers_when_they_change(on: Bench) -> None:
    told: list[list[str]] = []
    assert on.cache.next_end() is None
    on.other.on_callers = lambda callers: told.append([each.name for each in callers])
    for _ in range(2):
        on.other.refresh()
    on.create()
    on.create(NewCaller("nightly", "data"))
    for _ in range(2):
        on.other.refresh()
    on.keys.revoke("web", by="ann")
    on.other.refresh()
    assert [sorted(each) for each in told] == [[], ["nightly", "web"], ["nightly"]]


@pytest.fixture
def lost(tmp_path: Path) -> tuple[Bench, NewKey]:
    """Keys whose database has gone after they were read."""
    folder = tmp_path / "state"
    folder.mkdir()
    on = Bench(Database.in_folder(folder))
    made = on.create()
    folder.rename(tmp_path / "elsewhere")
    return on, made


def test_while_the_database_is_away_the_known_keys_stay_valid(lost: tuple[Bench, NewKey]) -> None:
    on, made = lost
    for _ in range(2):
        with contextlib.suppress(LedgerUnavailable):  # the first may use the open connection
            on.cache.refresh()
    assert on.cache.find(key_hash(made.key)) is not None
