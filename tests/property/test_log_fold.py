"""The state that a shared log leads to: from a checkpoint as from the beginning."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.pool_steps import ADAPTIVE, SETTINGS, StepSource
from tidegate.stores.pools import Pools
from tidegate.stores.remote.messages import Ask, Message, Steps
from tidegate.stores.steps import Batch
from tidegate.stores.valkey.log_fold import Appended, LogFold, encode_appended
from tidegate.stores.valkey.shared_log import Entry, EntryId

CHECKSUM_BYTES = 4


def new_fold() -> LogFold:
    return LogFold(Pools({"default": ADAPTIVE, "q": SETTINGS[2]}, SETTINGS[0]), "log")


def values_of(fold: LogFold) -> object:
    """The values of a dump. A whole number may be encoded as an integer or as a float."""
    return msgspec.msgpack.decode(fold.dump()[CHECKSUM_BYTES:])


def drawn_entries(data: st.DataObject, count: int) -> list[Entry]:
    """Entries of two replicas and of leaders, with pauses longer than ticks and lives of replicas."""
    source = StepSource(lambda options: data.draw(st.sampled_from(options)))
    numbers, name, entries = {"a": 1, "b": 1}, EntryId(1_795_000_000_000, 0), list[Entry]()
    for _ in range(count):
        pause_ms = data.draw(st.sampled_from([0, 0, 1, 40, 100, 1_000, 9_000]))
        name = EntryId(name.unix_ms + pause_ms, 0 if pause_ms else name.number + 1)
        writer = data.draw(st.sampled_from(["a", "b", "leader"]))
        if writer == "leader":
            appended = Appended(writer, tick=True, report=data.draw(st.booleans()))
        else:
            steps = tuple(source.draw({})[1] for _ in range(data.draw(st.integers(0, 3))))
            messages: list[Message] = [Steps(Batch(writer, numbers[writer], steps))] if steps else []
            messages.append(Ask(writer, "default", f"{writer}-1"))
            appended = Appended(writer, tuple(messages))
            numbers[writer] += len(steps)
        entries.append(Entry(name, encode_appended(appended)))
    return entries


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
