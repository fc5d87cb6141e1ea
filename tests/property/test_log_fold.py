"""The state that a shared log leads to: from a checkpoint as from the beginning."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.log_entries import drawn_entries
from support.pool_steps import ADAPTIVE, SETTINGS
from tidegate.stores.pools import Pools
from tidegate.stores.valkey.log_fold import Appended, LogFold, encode_appended
from tidegate.stores.valkey.shared_log import Entry, EntryId

CHECKSUM_BYTES = 4


def new_fold() -> LogFold:
    return LogFold(Pools({"default": ADAPTIVE, "q": SETTINGS[2]}, SETTINGS[0]), "log")


def values_of(fold: LogFold) -> object:
    """The values of a dump. A whole number may be encoded as an integer or as a float."""
    return msgspec.msgpack.decode(fold.dump()[CHECKSUM_BYTES:])


@given(st.data(), st.integers(1, 15), st.integers(0, 15))
def test_a_checkpoint_and_the_rest_of_the_log_equal_the_whole(data: st.DataObject, count: int, before: int) -> None:
    entries = drawn_entries(data, count)
    whole, leader = new_fold(), new_fold()
    effects = [whole.apply(entry) for entry in entries]
    assert [leader.apply(entry) for entry in entries[:before]] == effects[:before]
    successor = LogFold.restore(leader.dump())
    assert [successor.apply(entry) for entry in entries[before:]] == effects[before:]
    assert values_of(successor) == values_of(whole)


def test_time_without_a_leader_does_not_pass() -> None:
    fold = new_fold()

    def time_after(name: EntryId, *, tick: bool) -> float:
        fold.apply(Entry(name, encode_appended(Appended("r", tick=tick))))
        return fold.now_seconds

    assert time_after(EntryId(1_000, 0), tick=True) == 0
    assert time_after(EntryId(1_100, 0), tick=False) == 0.1
    assert time_after(EntryId(9_000, 0), tick=False) == 0.25
    assert time_after(EntryId(9_100, 0), tick=True) == 0.25
    assert time_after(EntryId(9_200, 0), tick=False) == 0.35
