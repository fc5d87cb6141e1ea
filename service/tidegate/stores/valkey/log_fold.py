"""The state that the log leads to: the same for every replica that folds it."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final, Self

import msgspec
from msgspec import Struct

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.ports.store import Change
from tidegate.stores.fold import Fold, FoldState
from tidegate.stores.pools import Pools
from tidegate.stores.remote.messages import (
    Ask,
    LogStatus,
    Message,
    Report,
    Results,
    SettingsInEffect,
    Steps,
    Told,
)
from tidegate.stores.steps import Answer, Leave, Rejoin, part_of, replica_of
from tidegate.stores.valkey.shared_log import START, Entry, EntryId

__all__ = ["Appended", "Effects", "LogFold", "LogState", "decode_appended", "decode_state_of_log", "encode_appended"]

logger = logging.getLogger("tidegate.store")

_VERSION: Final = 1
"""Counts changes after which older checkpoints cannot be read, here or in a state within."""

_NS_PER_MS: Final = 1_000_000
_SILENT_NS: Final = 5 * NS_PER_SECOND
"""A replica that has appended nothing for so long is dead: its waits and leases end."""
_ASIDE_AFTER_NS: Final = 2 * NS_PER_SECOND
_ASIDE_NS: Final = 30 * NS_PER_SECOND
"""A silent replica may decide alone for so long. Until then its share is set aside."""
_UNLED_NS: Final = NS_PER_SECOND // 4
"""Leaders tick ten times per second. Beyond this time after the last tick, nobody leads."""


class Appended(Struct, frozen=True, array_like=True):
    """The payload of an entry.

    Attributes:
        replica: who appended it; for a tick, the leader's name.
        messages: steps and questions, in order.
        tick: whether a leader appended it: time passes, and the waiters that fit by now are admitted.
        report: whether dead replicas are looked for, and all replicas get a report. Only with a tick.
    """

    replica: str
    messages: tuple[Message, ...] = ()
    tick: bool = False
    report: bool = False


class Effects(Struct):
    """The effects of an entry.

    Attributes:
        messages: for each replica, in order.
        facts: of ticks, which no replica has caused: for the leader.
        next_in_ns: by pool, how long until the next waiter may fit.
    """

    messages: dict[str, list[Message]] = {}
    facts: list[Change] = []
    next_in_ns: dict[str, int] = {}


class _Member(Struct, array_like=True):
    """A replica that takes part.

    Attributes:
        serial: of the last results that it was sent.
        seen_ns: when it last appended something.
        folded: the number of its last step.
        aside_ns: the share of so much time, since it was seen, was set aside for it.
        is_dead: whether its waits and leases have ended.
    """

    serial: int = 0
    seen_ns: int = 0
    folded: int = 0
    aside_ns: int = 0
    is_dead: bool = False


class LogState(Struct, frozen=True, array_like=True):
    """The dump of a `LogFold`. The attributes are its own, and `now_ns` is the time of the last entry."""

    version: int
    incarnation: str
    fold: FoldState
    members: dict[str, _Member]
    now_ns: int
    ticked_ns: int
    last: EntryId
    leader: str
    leader_changes: int


class LogFold:
    """Folds entries into pools. Nothing but the log and the initial settings decides what results.

    Ids of entries tell how much time has passed. Only time with a leader counts: without one, nobody publishes the
    grants. If that time earned refill, its grants would be delivered all at once, and could exceed the capacity.

    Each fact is reported to the replica whose entry caused it. An entry, or a step of one, that cannot be folded is
    skipped, because every other leader would fail in the same place.

    Args:
        pools: without any call yet.
        incarnation: random name of the log.

    Attributes:
        incarnation: as above.
    """

    def __init__(self, pools: Pools, incarnation: str) -> None:
        self.incarnation = incarnation
        self._fold = Fold(pools)
        self._members: dict[str, _Member] = {}
        self._last = START
        self._now_ns = self._ticked_ns = 0
        self._leader = ""
        self._leader_changes = 0

    def dump(self) -> bytes:
        """All that the entries so far have led to, for `restore`."""
        fold = self._fold.dump(self._now_ns)
        return encode_state(
            LogState(
                version=_VERSION,
                incarnation=self.incarnation,
                fold=fold,
                members=self._members,
                now_ns=self._now_ns,
                ticked_ns=self._ticked_ns,
                last=self._last,
                leader=self._leader,
                leader_changes=self._leader_changes,
            )
        )

    @classmethod
    def restore(cls, dump: bytes) -> Self:
        """A fold that continues exactly as the one that was dumped.

        Raises:
            UnreadableState: another version has dumped it, or it is damaged.
        """
        return cls.continued(decode_state_of_log(dump))

    @classmethod
    def continued(cls, state: LogState, kind: type[Pools] = Pools) -> Self:
        """As `restore`, over pools of this kind.

        Raises:
            UnreadableState: another version has dumped a pool.
        """
        fold = Fold.restore(state.fold, state.now_ns, kind)
        log_fold = cls(fold.pools, state.incarnation)
        log_fold._fold = fold
        log_fold._members = state.members
        log_fold._last, log_fold._now_ns, log_fold._ticked_ns = state.last, state.now_ns, state.ticked_ns
        log_fold._leader, log_fold._leader_changes = state.leader, state.leader_changes
        return log_fold

    @property
    def pools(self) -> Pools:
        """The pools that the entries are folded into."""
        return self._fold.pools

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replicas that take part."""
        return tuple(name for name, each in self._members.items() if not each.is_dead)

    @property
    def now_seconds(self) -> float:
        """The time with a leader since the first entry, in seconds."""
        return to_seconds(self._now_ns)

    def apply(self, entry: Entry) -> Effects:
        """Folds one entry. Its id must be later than that of every entry before."""
        try:
            appended = decode_appended(entry.payload)
        except msgspec.DecodeError:
            logger.exception("entry %s of the log is skipped, which cannot be read", entry.id)
            return Effects()
        return self.apply_appended(entry.id, appended)

    def apply_appended(self, entry_id: EntryId, appended: Appended) -> Effects:
        """Folds what an entry of this id holds, as `apply`."""
        effects = Effects()
        now_ns = self._advance_time(entry_id, is_tick=appended.tick)
        try:
            if appended.tick:
                self._tick(appended, now_ns, effects)
            else:
                self._fold_messages(appended, now_ns, effects)
        except Exception:  # it would fail again, at every replica that leads
            logger.exception("entry %s of the log is skipped, which cannot be folded", entry_id)
            effects.facts.append(Change("", events=(Anomaly("", AnomalyKind.STEP),)))
        return effects

    def drain(self) -> None:
        """The end of the log is lost, or all of it: it is unknown how much was used. Leaves nothing available."""
        self._fold.pools.drain(self._now_ns)

    def folded(self, replica: str) -> int:
        """The number of the last step of a replica; 0: it is unknown."""
        return self._fold.folded(replica)

    def _tick(self, tick: Appended, now_ns: int, effects: Effects) -> None:
        if tick.replica != self._leader:
            self._leader_changes += bool(self._leader)
            self._leader = tick.replica
        pools = self._fold.pools
        if tick.report:
            self._watch_silent_replicas(now_ns)
        pools.advance_all(now_ns)
        self._deliver("", [], pools.take_changes(), effects)
        if tick.report:
            self._report([name for name, each in self._members.items() if not each.is_dead], now_ns, effects)

    def _fold_messages(self, appended: Appended, now_ns: int, effects: Effects) -> None:
        replica = appended.replica
        is_new = replica not in self._members or self._members[replica].is_dead
        member = self._members.setdefault(replica, _Member(seen_ns=now_ns))
        answers: list[Answer] = []
        changes: list[Change] = []
        for message in appended.messages:
            if isinstance(message, Steps):
                if message.batch.steps and isinstance(rejoin := message.batch.steps[0], Rejoin):
                    self._notice_loss(replica, rejoin, now_ns)
                    if message.batch.number > self._fold.folded(replica) and rejoin.alone is not None:
                        self._charge_alone(member, rejoin.alone, now_ns)
                folded = self._fold.fold(message.batch, now_ns)
                member.folded = folded.number
                answers += folded.answers
                changes += folded.changes
                for step in message.batch.steps:
                    if isinstance(step, Leave):
                        self._members.pop(step.replica, None)
                    elif isinstance(step, Rejoin):
                        member.serial = max(member.serial, step.serial)
            elif isinstance(message, Ask):
                left = self._fold.pools.wait_left(message.pool, message.lease_id, now_ns)
                effects.messages.setdefault(replica, []).append(Told(replica, message.lease_id, left))
        member.seen_ns, member.aside_ns, member.is_dead = now_ns, 0, False
        self._deliver(replica, answers, changes, effects, has_steps=bool(appended.messages))
        if is_new and replica in self._members:
            self._report((replica,), now_ns, effects)

    def _advance_time(self, name: EntryId, *, is_tick: bool) -> int:
        """The time of an entry. Entries of one millisecond have the same time."""
        if self._last != START:
            passed_ns = max(0, name.unix_ms - self._last.unix_ms) * _NS_PER_MS  # ids go back where a tail is lost
            self._now_ns = min(self._now_ns + passed_ns, self._ticked_ns + _UNLED_NS)
        self._last = name
        if is_tick:
            self._ticked_ns = self._now_ns
        return self._now_ns

    def _notice_loss(self, replica: str, rejoin: Rejoin, now_ns: int) -> None:
        """A replica that rejoins may prove that the log has lost steps that were folded: then more may be lost."""
        if rejoin.incarnation == self.incarnation:
            is_lost = 0 < self._fold.folded(replica) < rejoin.folded
        else:
            is_lost = bool(rejoin.incarnation) and now_ns < _SILENT_NS
        if is_lost:
            self._fold.pools.drain(now_ns)

    def _watch_silent_replicas(self, now_ns: int) -> None:
        for name, member in tuple(self._members.items()):
            silent_ns = now_ns - member.seen_ns
            if silent_ns > _SILENT_NS and not member.is_dead:
                member.is_dead, member.folded = True, 0
                self._fold.forget(name, now_ns)
            if silent_ns > _ASIDE_AFTER_NS:
                self._set_aside(member, now_ns, of_level=not member.aside_ns)
            if silent_ns > _ASIDE_NS:
                del self._members[name]

    def _set_aside(self, member: _Member, now_ns: int, *, of_level: bool) -> None:
        """Takes the share of a replica that may decide alone since it was seen last."""
        until_ns = min(now_ns - member.seen_ns, _ASIDE_NS)
        if len(self._members) > 1:
            self._fold.pools.set_aside(len(self._members), member.aside_ns, until_ns, now_ns, of_level=of_level)
        member.aside_ns = until_ns

    def _charge_alone(self, member: _Member, used: Mapping[str, Cost], now_ns: int) -> None:
        """A replica comes back that has decided alone."""
        if not member.aside_ns:  # otherwise its share of the levels is set aside
            for name, cost in used.items():
                self._fold.pools.use_elsewhere(name, cost, now_ns)
        self._set_aside(member, now_ns, of_level=False)

    def _deliver(
        self, cause: str, answers: list[Answer], changes: Iterable[Change], effects: Effects, *, has_steps: bool = False
    ) -> None:
        parts: dict[str, list[Change]] = {}
        for change in changes:
            if change.next_in_ns is not None:
                effects.next_in_ns[change.pool] = change.next_in_ns
            if change.events:
                facts = effects.facts if not cause else parts.setdefault(cause, [])
                facts.append(Change(change.pool, events=change.events))
            lease_ids = (*change.granted, *(lease_id for lease_id, _ in change.refused))
            for replica in dict.fromkeys(map(replica_of, lease_ids)):
                part = part_of(change, replica)
                if part is not None:
                    parts.setdefault(replica, []).append(part)
        if has_steps:
            parts.setdefault(cause, [])
        for replica, own in parts.items():
            member = self._members.get(replica)
            if member is None or member.is_dead:  # one that lives after all asks again for what waits
                continue
            member.serial += 1
            given = tuple(answers) if replica == cause else ()
            results = Results(replica, member.serial, member.folded, given, tuple(own))
            effects.messages.setdefault(replica, []).append(results)

    def _report(self, names: Iterable[str], now_ns: int, effects: Effects) -> None:
        pools = self._fold.pools
        snapshots, queues, budgets = pools.snapshot(None, now_ns), pools.queues(now_ns), pools.budgets.snapshot()
        configured, otherwise = pools.settings.configured
        settings = SettingsInEffect(dict(configured), otherwise, pools.settings.dump())
        alive = sum(not each.is_dead for each in self._members.values())
        log = LogStatus(self.incarnation, self._now_ns, alive, self._leader_changes, settings)
        for replica in names:
            member = self._members[replica]
            report = Report(replica, member.serial, snapshots, queues, member.folded, log, budgets)
            effects.messages.setdefault(replica, []).append(report)


_DECODER: Final[msgspec.msgpack.Decoder[Appended]] = msgspec.msgpack.Decoder(Appended)


def encode_appended(appended: Appended) -> bytes:
    """The payload of an entry."""
    return msgspec.msgpack.encode(appended)


def decode_state_of_log(dump: bytes) -> LogState:
    """Decodes a state of `LogFold.dump`.

    Raises:
        UnreadableState: another version has dumped it, or it is damaged.
    """
    return decode_state(dump, LogState, _VERSION)


def decode_appended(payload: bytes) -> Appended:
    """Decodes the payload of `encode_appended`.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return _DECODER.decode(payload)
