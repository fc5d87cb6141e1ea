"""What was spent and what is reserved, in the database."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from support.virtual_time import VirtualClock
from tidegate.core.domain.budget import Spender, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import LeaseEnded
from tidegate.core.pricing.price_list import PriceList
from tidegate.identity.identify import new_key
from tidegate.ledger.database import Database
from tidegate.ledger.ledger import Ledger
from tidegate.ledger.tables import reservations, spending
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.spending import KEEP_DAYS, forget_old_spending
from tidegate.ledger.usage.sums import SLOT_SECONDS

ANN, BOB = Spender("ann", "search"), Spender("bob", "ads")
ANN_S, ANN_T = Spender("ann", "search", "s"), Spender("ann", "search", "t")
CALLER = Caller("ann", label="ann", team="search")


def new_ledger(database: Database, clock: VirtualClock | None = None) -> Ledger:
    return Ledger(database, clock or VirtualClock(), PriceList.bundled(), required=False, new_key=new_key)


def spent(ledger: Ledger, starts: int = 0, *, by_session: bool = False) -> dict[Spender, Spending]:
    return dict(ledger.spending.spent_since(starts, by_session=by_session))


def lease_ended(session: str, micro_usd: int) -> LeaseEnded:
    return LeaseEnded("p", CALLER, "settled", Cost(1), Cost(1), session, Spending(micro_usd, 10 * micro_usd))


def test_spending_of_a_period_is_added_up_by_caller_and_by_session(database: Database) -> None:
    clock = VirtualClock()
    ledger = new_ledger(database, clock)
    ledger.spending.keep(None, sessions=True)
    handler = dict(ledger.handlers)[LeaseEnded]
    handler(lease_ended("s", 5))
    handler(lease_ended("s", 0))
    ledger.prepare()
    clock.advance(2 * SLOT_SECONDS)
    for each in (lease_ended("s", 1), lease_ended("t", 2), lease_ended("", 4)):
        handler(each)
    ledger.spending.record(BOB, Spending(7, 7))
    ledger.prepare()
    assert spent(ledger) == {ANN: Spending(12, 120), BOB: Spending(7, 7)}
    assert spent(ledger, by_session=True) == {ANN_S: Spending(6, 60), ANN_T: Spending(2, 20)}
    later = int(clock.wall_seconds()) // SLOT_SECONDS * SLOT_SECONDS
    assert spent(ledger, later) == {ANN: Spending(7, 70), BOB: Spending(7, 7)}


def test_sessions_are_only_kept_where_a_budget_needs_them(database: Database) -> None:
    ledger = new_ledger(database)
    dict(ledger.handlers)[LeaseEnded](lease_ended("s", 5))
    ledger.prepare()
    assert spent(ledger) == {ANN: Spending(5, 50)}
    assert spent(ledger, by_session=True) == {}


def test_what_a_killed_process_had_reserved_is_spent_once(database: Database) -> None:
    clock = VirtualClock()
    killed, heir = new_ledger(database, clock), new_ledger(database, clock)
    reserved = {ANN_S: Spending(5, 6), BOB: Spending(7, 8)}
    killed.spending.keep(lambda: reserved, sessions=False)
    killed.prepare()
    assert spent(heir) == {}
    assert dict(heir.spending.settle_dead(sole=True)) == reserved
    assert heir.spending.settle_dead(sole=True) == []
    assert spent(heir) == {ANN: Spending(5, 6), BOB: Spending(7, 8)}


def test_a_process_that_goes_on_writing_is_alive(database: Database) -> None:
    clock = VirtualClock()
    alive, other = new_ledger(database, clock), new_ledger(database, clock)
    alive.spending.keep(lambda: {ANN: Spending(5, 6)}, sessions=False)
    alive.prepare()
    seconds = other.spending.now()
    assert other.spending.settle_dead(sole=False) == []
    assert abs(other.spending.now() - (time.time() if database.is_postgresql else seconds)) < 60
    alive.spending.keep(dict, sessions=False)
    alive.prepare()
    assert other.spending.settle_dead(sole=True) == []


def test_what_is_reserved_is_written_when_it_changes_and_again_after_some_time(database: Database) -> None:
    clock = VirtualClock()
    ledger = new_ledger(database, clock)
    reserved = {ANN: Spending(5, 6)}
    ledger.spending.keep(lambda: reserved, sessions=False)
    writer = ledger.spending._reservations
    ledger.prepare()
    assert writer.changed() is None
    clock.advance(2.5)
    assert writer.changed() == reserved
    ledger.prepare()
    reserved = {ANN: Spending(6, 6)}
    assert writer.changed() == reserved


def test_old_spending_of_callers_is_kept_in_one_row_and_that_of_sessions_is_forgotten(database: Database) -> None:
    clock = VirtualClock()
    ledger = new_ledger(database, clock)
    ledger.spending.keep(None, sessions=True)
    handler = dict(ledger.handlers)[LeaseEnded]
    for _ in range(3):
        handler(lease_ended("s", 5))
        ledger.prepare()
        clock.advance(86_400 * (KEEP_DAYS - 1))
    forget_old_spending(database, int(clock.wall_seconds()))
    assert spent(ledger) == {ANN: Spending(15, 150)}
    assert spent(ledger, by_session=True) == {ANN_S: Spending(5, 50)}
    assert spent(ledger, 1) == {ANN: Spending(5, 50)}
    forget_old_spending(database, int(clock.wall_seconds()))
    assert spent(ledger) == {ANN: Spending(15, 150)}


@pytest.mark.parametrize("what", ["old spending", "reservations of the dead"])
def test_two_processes_that_do_the_same_at_once_count_it_once(url: str, what: str) -> None:
    clock = VirtualClock()
    databases = [Database(url) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for each in databases:
            stack.callback(each.close)
        killed, *alive = [new_ledger(each, clock) for each in databases]
        killed.spending.record(BOB, Spending(7, 8))
        killed.spending.keep(lambda: {ANN: Spending(5, 6)}, sessions=False)
        killed.prepare()
        clock.advance(86_400 * (KEEP_DAYS + 1))

        def act(number: int) -> None:
            if what == "old spending":
                forget_old_spending(databases[number], int(clock.wall_seconds()))
            else:
                alive[number - 1].spending.settle_dead(sole=True)

        with ThreadPoolExecutor(2) as at_once, databases[0].begin() as connection:
            for table in (spending, reservations):
                connection.execute(select(table).with_for_update())
            both = [at_once.submit(act, number) for number in (1, 2)]
            time.sleep(0.3)  # now both of them wait for these rows
            connection.commit()
            for done in both:
                done.result()
        expected = {BOB: Spending(7, 8)} | ({} if what == "old spending" else {ANN: Spending(5, 6)})
        assert spent(alive[0]) == expected


def test_spending_of_more_keys_than_there_is_room_for_is_counted_as_lost() -> None:
    recorder = UsageRecorder(VirtualClock(), PriceList.bundled(), max_keys=1)
    for spender in (ANN, ANN, BOB):
        recorder.spend(spender, Spending(1, 1))
    assert recorder.lost == 1
    pending = recorder.take()
    assert pending is not None
    assert list(pending.spending.values()) == [Spending(2, 2)]
