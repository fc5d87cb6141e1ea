"""Two admins change the same thing at the same moment, each in a process of its own."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError, Event

import pytest

from tidegate.core.domain.caller import Role
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pause import PauseKind
from tidegate.core.ports.key_store import NewCaller
from tidegate.identity.identify import new_key
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.access.pauses import LedgerPauses
from tidegate.ledger.database import Database

WEB = NewCaller("web", "shop", Role.CALLER)
HOLD_SECONDS = 0.3
"""So long the first change waits in its transaction, for the second one to run into it."""


class Admins:
    """Two processes that use one database. The first one stops in the middle of each change of a key."""

    def __init__(self, url: str) -> None:
        self.databases = [Database(url), Database(url)]
        with self.databases[0].begin():  # migrates
            pass
        self.first, self.second = Keys(self.databases[0], self._new_key), Keys(self.databases[1], new_key)
        self._is_in_the_middle = Event()

    def _new_key(self) -> tuple[str, str]:
        self._is_in_the_middle.set()
        time.sleep(HOLD_SECONDS)
        return new_key()

    def valid_keys(self) -> int:
        now = int(time.time())
        return sum(each.state(now) == "valid" for each in self.second.all_keys())

    def at_once(self, first: Callable[[Keys], object], second: Callable[[Keys], object]) -> None:
        """Begins the second change while the first one is in the middle, and raises what one of them raised."""
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(first, self.first)
            assert self._is_in_the_middle.wait(10)
            second(self.second)
            done.result()


@pytest.fixture
def admins(url: str) -> Iterator[Admins]:
    admins = Admins(url)
    yield admins
    for database in admins.databases:
        database.close()


def create(keys: Keys) -> None:
    keys.create(WEB, expires_at=None, by="ann")


def rotate(keys: Keys) -> None:
    keys.rotate("web", grace_seconds=3_600, by="ann")


def revoke(keys: Keys) -> None:
    keys.revoke("web", by="ann")


def test_a_caller_is_created_once(admins: Admins) -> None:
    with pytest.raises(ConfigurationError):
        admins.at_once(create, create)
    assert admins.valid_keys() == 1


def test_a_caller_whose_keys_have_ended_is_created_once(admins: Admins) -> None:
    create(admins.second)
    revoke(admins.second)
    with pytest.raises(ConfigurationError):
        admins.at_once(create, create)
    assert admins.valid_keys() == 1


def test_a_key_is_rotated_once(admins: Admins) -> None:
    create(admins.second)
    with pytest.raises(ConfigurationError):
        admins.at_once(rotate, rotate)
    assert admins.valid_keys() == 2


def test_a_key_that_is_made_while_its_caller_is_revoked_ends_too(admins: Admins) -> None:
    create(admins.second)
    admins.at_once(rotate, revoke)
    assert admins.valid_keys() == 0


def test_of_two_pauses_the_second_replaces_the_first(admins: Admins) -> None:
    both = Barrier(2)

    def is_known(_kind: PauseKind, _name: str) -> bool:
        with contextlib.suppress(BrokenBarrierError):  # the other one waits for the database
            both.wait(HOLD_SECONDS)
        return True

    def pause(database: Database) -> None:
        LedgerPauses(database, is_known).pause(PauseKind.CALLER, "web", reason="runs away", by="ann")

    with ThreadPoolExecutor(2) as at_once:
        list(at_once.map(pause, admins.databases))
    assert len(LedgerPauses(admins.databases[0]).all_pauses()) == 1
