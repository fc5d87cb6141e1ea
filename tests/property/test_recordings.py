"""A recording that is folded again leads to the same grants and refusals, at the same times."""

from hypothesis import given
from hypothesis import strategies as st

from support.log_entries import drawn_entries
from support.pool_steps import ADAPTIVE, SETTINGS
from support.recordings import HandMade, limited
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.stores.pools import Pools
from tidegate.stores.recording.changed_settings import ChangedLimits, ChangedSettings
from tidegate.stores.recording.original import Stretch, fold_again, fold_original
from tidegate.stores.recording.pseudonyms import Pseudonyms
from tidegate.stores.recording.recording_file import Recorded
from tidegate.stores.recording.replay import replay
from tidegate.stores.remote.messages import Results
from tidegate.stores.remote.messages import Steps as SentSteps
from tidegate.stores.valkey.log_fold import Appended, LogFold, decode_appended, decode_state_of_log
from tidegate.stores.valkey.shared_log import Entry, EntryId


def recorded(entries: list[Entry], names: Pseudonyms) -> list[Recorded]:
    found = []
    for entry in entries:
        appended = decode_appended(entry.payload)
        steps = tuple(names.hide(each) for each in appended.messages if isinstance(each, SentSteps))
        kept = Appended(appended.replica, steps, appended.tick, appended.report)
        found.append(Recorded(entry.id.unix_ms, entry.id.number, kept))
    return found


@given(st.data(), st.integers(1, 25), st.integers(0, 10))
def test_a_recording_leads_to_the_same_grants_and_refusals(data: st.DataObject, count: int, before: int) -> None:
    entries = drawn_entries(data, count)
    leader = LogFold(Pools({"default": ADAPTIVE, "q": SETTINGS[2]}, SETTINGS[0]), "log")
    for entry in entries[:before]:
        leader.apply(entry)
    names = Pseudonyms(b"any")
    stretch = Stretch(names.hide(decode_state_of_log(leader.dump())), recorded(entries[before:], names))
    granted, refused = set[str](), dict[str, Cause]()
    for entry in entries[before:]:
        for message in [each for of in leader.apply(entry).messages.values() for each in of]:
            if isinstance(message, Results):
                granted |= {lease_id for change in message.changes for lease_id in change.granted}
                refused |= {lease_id: why.cause for change in message.changes for lease_id, why in change.refused}
    original = fold_original(stretch)
    attempts = original.attempts.all
    # A replica that is dead or unknown gets no results.
    assert granted <= {lease_id for lease_id, each in attempts.items() if each.granted_ns is not None}
    assert refused.items() <= {lease_id: each.cause for lease_id, each in attempts.items()}.items()
    assert fold_again(original) == original.attempts
    again = LogFold.continued(stretch.state)
    for each in stretch.entries:
        again.apply_appended(EntryId(each.unix_ms, each.number), each.appended)
    assert decode_state_of_log(again.dump()).fold == names.hide(decode_state_of_log(leader.dump())).fold


@given(st.data(), st.integers(1, 40))
def test_any_recording_can_be_replayed_under_other_settings(data: st.DataObject, count: int) -> None:
    fold = LogFold(Pools({"default": ADAPTIVE, "q": SETTINGS[2]}, SETTINGS[0]), "log")
    stretch = Stretch(decode_state_of_log(fold.dump()), recorded(drawn_entries(data, count), Pseudonyms(b"any")))
    original = fold_original(stretch)
    replayed = replay(original, ChangedSettings(), keep_429s=data.draw(st.booleans()))
    for lease_id, attempt in replayed.all.items():
        assert lease_id in original.attempts.all
        assert attempt.granted_ns is None or attempt.granted_ns >= attempt.asked_ns
        assert attempt.over_ns is None or attempt.over_ns >= (attempt.granted_ns or attempt.asked_ns)


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30), st.sampled_from([None, 0.5, 3.0])), max_size=30),
    st.sampled_from([6.0, 30.0, 120.0, 600.0]),
    st.sampled_from([1.0, 3.0]),
)
def test_a_replay_admits_no_more_than_its_limit(
    calls: list[tuple[int, int, float | None]], per_minute: float, capacity: float
) -> None:
    log = HandMade({"p": limited(120, 2)})
    for asked, lasts, patience_s in calls:
        log.end(asked / 10 + lasts / 10, log.ask(asked / 10, patience_s=patience_s))
    limits = ChangedLimits({Dimension.REQUESTS: per_minute}, capacity * 60 / per_minute)
    replayed = replay(log.folded(12), ChangedSettings({"p": limits}))
    times = sorted(each.granted_ns for each in replayed.all.values() if each.granted_ns is not None)
    for first, began_ns in enumerate(times):
        for last in range(first, len(times)):
            seconds = to_seconds(times[last] - began_ns)
            assert last - first + 1 <= per_minute / 60 * seconds + capacity + 1e-6
