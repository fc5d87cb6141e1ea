"""Pauses and the record of what admins change, in the ledger, as two processes see them."""

from functools import partial

import pytest

from support.ledgers import WEB, ended, hear
from tidegate.core.domain.caller import Role
from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable
from tidegate.core.domain.pause import Pause, PauseKind, Pauses
from tidegate.core.ports.audit import AuditEntry
from tidegate.core.ports.key_store import NewCaller
from tidegate.core.pricing.price_list import PriceList
from tidegate.engine.clock import SystemClock
from tidegate.identity.identify import new_key
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.access.pauses import LedgerPauses, PauseCache
from tidegate.ledger.audit import Audit
from tidegate.ledger.database import Database
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.writer import UsageWriter

NOW = 1_795_000_000
DAY = 86_400


class Bench:
    """Pauses of one database, with a clock that is set by hand."""

    def __init__(self, database: Database) -> None:
        self.now = float(NOW)
        self.cache, self.other = PauseCache(database), PauseCache(database)
        is_known = {(PauseKind.POOL, "haiku-5-5"), (PauseKind.CALLER, "web")}
        self.pauses = LedgerPauses(
            database, lambda kind, name: (kind, name) in is_known, self.cache.refresh, lambda: self.now
        )
        self.audit = Audit(database, lambda: self.now)
        self.keys = Keys(database, new_key, wall_seconds=lambda: self.now)

    def pause(self, kind: PauseKind, name: str, reason: str = "") -> Pause:
        return self.pauses.pause(kind, name, reason=reason, by="ann")

    def entries(self) -> list[AuditEntry]:
        return list(self.audit.entries(0, int(self.now) + 1, 100))


@pytest.fixture
def on(database: Database) -> Bench:
    return Bench(database)


def test_a_pause_is_known_here_at_once_and_elsewhere_when_it_reads_until_it_is_resumed(
    on: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Pauses] = []
    on.other.on_pauses = told.append
    made = on.pause(PauseKind.CALLER, "web", "runs away")
    assert made == Pause(PauseKind.CALLER, "web", "ann", NOW, "runs away")
    assert on.cache.current.refusal(WEB) is not None
    assert on.other.current.refusal(WEB) is None
    for _ in range(2):
        on.other.refresh()
    assert [pauses.refusal(WEB) is not None for pauses in told] == [True]
    on.now += 60
    on.pause(PauseKind.POOL, "haiku-5-5")
    assert [each.name for each in on.pauses.all_pauses()] == ["haiku-5-5", "web"]
    assert on.pauses.resume(PauseKind.CALLER, "web", by="bob") == made
    on.other.refresh()
    assert on.other.current.by_kind() == on.cache.current.by_kind()
    assert on.cache.current.refusal(WEB) is None
    assert caplog.messages == [
        "paused caller web, by ann: runs away",  # here
        "paused caller web, by ann: runs away",  # elsewhere
        "paused pool haiku-5-5, by ann: no reason given",
        "resumed caller web",
        "paused pool haiku-5-5, by ann: no reason given",
        "resumed caller web",
    ]


def test_a_second_pause_replaces_the_first_and_both_are_recorded(on: Bench) -> None:
    on.pause(PauseKind.CALLER, "web", "first")
    on.now += 1
    on.pauses.pause(PauseKind.CALLER, "web", reason="second", by="bob")
    on.now += 1
    on.pauses.resume(PauseKind.CALLER, "web", by="cem")
    first, second = {"by": "ann", "at": NOW, "reason": "first"}, {"by": "bob", "at": NOW + 1, "reason": "second"}
    entry = partial(AuditEntry, target="caller web")
    assert on.entries() == [
        entry(NOW + 2, "cem", "resume", before=second, after={}),
        entry(NOW + 1, "bob", "pause", before=first, after=second),
        entry(NOW, "ann", "pause", before={}, after=first),
    ]


def test_changes_within_one_second_are_listed_the_newest_first(on: Bench) -> None:
    for _ in range(5):
        on.pause(PauseKind.CALLER, "web")
        on.pauses.resume(PauseKind.CALLER, "web", by="ann")
    assert [each.action for each in on.entries()] == ["resume", "pause"] * 5


def test_a_name_that_was_never_heard_of_is_refused_except_of_a_session(on: Bench, database: Database) -> None:
    for kind in (PauseKind.CALLER, PauseKind.KEY, PauseKind.TEAM, PauseKind.POOL):
        with pytest.raises(ConfigurationError, match="name: got 'wep', allowed is the "):
            on.pause(kind, "wep")
    with pytest.raises(ConfigurationError, match="allowed is a paused caller"):
        on.pauses.resume(PauseKind.CALLER, "web", by="ann")
    with pytest.raises(ConfigurationError, match="one line of at most 500 printable characters"):
        on.pause(PauseKind.CALLER, "web", "x" * 501)
    on.pause(PauseKind.SESSION, "s1")
    made = on.keys.create(NewCaller("boss", "ops", Role.ADMIN), expires_at=None, by="ann")
    recorder = UsageRecorder(SystemClock(), PriceList.bundled())
    hear(recorder, ended(WEB))
    assert UsageWriter(database, recorder, SystemClock()).write()
    for kind, name in (
        (PauseKind.CALLER, "boss"),
        (PauseKind.KEY, made.id),
        (PauseKind.TEAM, "ops"),
        (PauseKind.TEAM, "shop"),  # has used something
        (PauseKind.CALLER, "web"),
    ):
        on.pause(kind, name)
    assert len(on.pauses.all_pauses()) == 6


def test_while_the_database_fails_what_was_paused_stays_so(
    on: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    on.pause(PauseKind.CALLER, "web")

    def fail() -> None:
        raise LedgerUnavailable("the disk is gone")

    monkeypatch.setattr(database, "read", fail)
    with pytest.raises(LedgerUnavailable):
        on.cache.refresh()
    assert on.cache.current.refusal(WEB) is not None


def test_every_change_of_a_key_is_recorded_without_the_key(on: Bench) -> None:
    made = on.keys.create(NewCaller("web", "shop"), expires_at=None, by="ann")
    new = on.keys.rotate("web", grace_seconds=60, by="bob")
    on.keys.expire(new.id, NOW + DAY, by="cem")
    on.keys.revoke("web", by="dan")
    changes = {(each.who, each.action, each.target) for each in on.entries()}
    assert changes == {
        ("ann", "key.create", "caller web"),
        ("bob", "key.rotate", "caller web"),
        ("cem", "key.expire", f"key {new.id} of caller web"),
        ("dan", "key.revoke", f"key {made.id} of caller web"),
        ("dan", "key.revoke", f"key {new.id} of caller web"),
    }
    by_action = {each.action: each for each in on.entries()}
    assert by_action["key.create"].after == {
        "key": made.id,
        "expires_at": None,
        "team": "shop",
        "role": "caller",
        "weight": 1.0,
        "priority": "standard",
        "models": [],
    }
    assert by_action["key.rotate"].after == {"key": new.id, "expires_at": None, "old_valid_until": NOW + 60}
    assert by_action["key.expire"].before == {"expires_at": None, "revoked_at": None}
    assert by_action["key.expire"].after == {"expires_at": NOW + DAY, "revoked_at": None}
    text = str(on.entries())
    assert made.key not in text
    assert new.key not in text


def test_recorded_changes_are_written_once_and_kept_for_400_days(on: Bench) -> None:
    on.audit.record("ann", "configure", "pool p", {"a": None}, {"a": 1.5})
    assert on.entries() == []
    for _ in range(2):
        on.audit.write()
    assert on.entries() == [AuditEntry(NOW, "ann", "configure", "pool p", {"a": None}, {"a": 1.5})]
    assert on.audit.entries(0, NOW, 100) == []
    on.now += 400 * DAY
    on.audit.record("bob", "reload", "configuration", {}, {})
    on.audit.write()
    assert [each.who for each in on.audit.entries(0, int(on.now) + 1, 1)] == ["bob"]
    assert len(on.entries()) == 2
    on.now += DAY
    on.audit.write()
    assert [each.who for each in on.entries()] == ["bob"]


def test_what_a_failing_database_did_not_take_is_written_later(
    on: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise LedgerUnavailable("the disk is full")

    on.audit.record("ann", "reload", "configuration", {}, {})
    with monkeypatch.context() as broken:
        broken.setattr(database, "begin", fail)
        with pytest.raises(LedgerUnavailable):
            on.audit.write()
    on.audit.write()
    assert [each.who for each in on.entries()] == ["ann"]
