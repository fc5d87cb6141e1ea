"""Random entries of a shared log."""

from hypothesis import strategies as st

from support.pool_steps import StepSource
from tidegate.stores.remote.messages import Ask, Message, Steps
from tidegate.stores.steps import Batch
from tidegate.stores.valkey.log_fold import Appended, encode_appended
from tidegate.stores.valkey.shared_log import Entry, EntryId

__all__ = ["drawn_entries"]


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
