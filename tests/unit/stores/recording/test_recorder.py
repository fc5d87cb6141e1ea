"""Recordings of replicas on virtual time: exact, complete, and without what nobody should learn."""

import asyncio
import io
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from support.memory_log import LogServer, MemoryLog
from support.replica_calls import CONFIGURED, leader_of
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import Refusal, UnreadableState
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.stores.recording.original import Original, fold_again, fold_original, stretches
from tidegate.stores.recording.pseudonyms import Pseudonyms
from tidegate.stores.recording.recorder import Recorder
from tidegate.stores.recording.recording_file import Part, RecordingReader, RecordingWriter
from tidegate.stores.valkey.log_fold import Appended, encode_appended

CONNECTION_SECONDS = 0.0005
SECRETS = ("key-0123456789ab", "session-of-ann", "agent-of-ann", "admin-of-all")


@dataclass
class Live:
    """What the callers have seen: waits by lease id, and causes of refusals."""

    clock: VirtualClock
    waits: dict[str, float] = field(default_factory=dict)
    causes: list[Cause] = field(default_factory=list)

    async def call(self, replica: Replica, number: int) -> None:
        caller = Caller(SECRETS[0]) if number % 2 else Caller("web", label="web")
        patience_ns = to_ns(2) if number % 3 == 0 else None
        demand = Demand("p", caller, Cost(1), patience_ns, session=SECRETS[1], agent=SECRETS[2])
        try:
            lease = await replica.admission.acquire(demand)
        except Refusal as refusal:
            self.causes.append(refusal.cause)
            return
        self.waits[lease.id] = to_seconds(lease.waited_ns)
        await asyncio.sleep(0.5)
        await lease.end(Outcome.SETTLED, Cost(1))


@asynccontextmanager
async def recording(server: LogServer, parts: list[Part]) -> AsyncIterator[tuple[Recorder, MemoryLog]]:
    log = MemoryLog(server, latency_seconds=CONNECTION_SECONDS)
    recorder = Recorder(log, parts.append, Pseudonyms(b"random"))
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder, log
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def recorded_calls(clock: VirtualClock) -> tuple[Live, list[Part]]:
    """Calls at three replicas, whose leader dies meanwhile, and their recording from the middle on."""
    live, parts = Live(clock), list[Part]()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 3) as (server, running):
            leader = leader_of(running)
            others = [each for each in running if each is not leader]
            await others[0].store.configure("p", PoolSettings(CONFIGURED["p"].limits), by=SECRETS[3])
            early = [asyncio.create_task(live.call(others[number % 2], number)) for number in range(40)]
            await asyncio.sleep(1)
            async with recording(server, parts):
                tasks = [asyncio.create_task(live.call(others[number % 2], number)) for number in range(60)]
                await asyncio.sleep(1.5)
                await leader.kill()
                await asyncio.gather(*early, *tasks)
                await asyncio.sleep(1)

    run_virtual(main(), clock)
    return live, parts


def originals(parts: list[Part]) -> list[Original]:
    return [fold_original(each) for each in stretches(parts)]


def test_a_replay_of_replicas_with_a_changed_leader_has_their_grants_refusals_and_waits() -> None:
    live, parts = recorded_calls(VirtualClock())
    (original,) = originals(parts)
    attempts = original.attempts.all.values()
    found = {each.lease_id: each for each in attempts if each.granted_ns is not None}
    assert set(found) <= set(live.waits)
    assert len(found) > 60
    for lease_id, attempt in found.items():
        if attempt.granted_ns >= original.since_ns and attempt.asked_ns >= original.since_ns:  # type: ignore[operator]
            waited = to_seconds(attempt.waited_ns or 0)
            # The replica's own clock includes the way to the leader and back, and the takeover without a leader.
            assert 0 <= live.waits[lease_id] - waited < 2.1
    causes = [each.cause for each in attempts if each.cause is not None]
    assert sorted(causes) == sorted(live.causes[-len(causes) :])
    assert causes
    assert original.state.leader_changes == 0
    assert fold_again(original) == original.attempts


def test_a_recording_has_no_name_that_a_client_chose_or_that_is_made_from_a_key() -> None:
    _, parts = recorded_calls(VirtualClock())
    file = io.BytesIO()
    writer = RecordingWriter(file)
    for part in parts:
        writer.write(part)
    content = file.getvalue()
    assert len(content) == writer.written_bytes
    place, plain = content.index(b"\n") + 1, b""
    while place < len(content):
        length = int.from_bytes(content[place : place + 4])
        plain += zlib.decompress(content[place + 8 : place + 8 + length])
        place += 8 + length
    assert b"web" in plain
    assert not [secret for secret in SECRETS if secret.encode() in plain]
    assert list(RecordingReader(io.BytesIO(content))) == parts


@pytest.mark.parametrize("lost", ["trimmed", "flushed"])
def test_entries_that_were_not_read_leave_a_gap_and_the_recording_goes_on(lost: str) -> None:
    clock = VirtualClock()
    live, parts = Live(clock), list[Part]()

    async def main() -> int:
        async with replicas(clock, CONFIGURED, 2) as (server, running):
            await asyncio.sleep(1)
            async with recording(server, parts) as (recorder, log):
                await asyncio.sleep(1)
                if lost == "trimmed":
                    log.pause(15)
                    await asyncio.sleep(16)
                else:
                    server.lose_everything()
                    await asyncio.sleep(5)
                await live.call(running[0], 1)
                await asyncio.sleep(1)
            return len(recorder.gaps)

    assert run_virtual(main(), clock) == 1
    first, second = stretches(parts)
    assert (
        first.gap
        == {
            "trimmed": "entries were removed from the log before they were read",
            "flushed": "the server has lost the log",
        }[lost]
    )
    assert (first.entries != [], second.gap) == (True, None)
    assert [*fold_original(second).attempts.all] == [*live.waits]


def test_a_recorder_waits_for_the_first_leader_and_for_a_server_that_is_down() -> None:
    clock = VirtualClock()
    parts = list[Part]()

    async def main() -> None:
        server = LogServer(clock)
        async with recording(server, parts):
            server.is_down = True
            await asyncio.sleep(2)
            server.is_down = False
            await asyncio.sleep(2)
            assert not parts
            replica = Replica(server, clock, "r", CONFIGURED)
            await replica.start()
            await asyncio.sleep(2)
            server.silent.append((clock.elapsed_s, clock.elapsed_s + 1))
            await asyncio.sleep(4)
            await replica.kill()

    run_virtual(main(), clock)
    (stretch,) = stretches(parts)
    times = [each.unix_ms for each in stretch.entries]
    assert times == sorted(times)
    assert times[-1] - times[0] > 5_000


def test_many_entries_at_once_are_recorded_and_one_that_cannot_be_read_is_left_out() -> None:
    clock = VirtualClock()
    parts = list[Part]()

    async def main() -> tuple[Recorder, LogServer]:
        async with replicas(clock, CONFIGURED, 1) as (server, running):
            await asyncio.sleep(1)
            async with recording(server, parts) as (recorder, _):
                await asyncio.sleep(1)
                other = MemoryLog(server)
                await asyncio.gather(*(other.append(encode_appended(Appended("other"))) for _ in range(1_200)))
                await other.append(b"unreadable")
                await asyncio.sleep(1)
                await running[0].kill()
            return recorder, server

    recorder, server = run_virtual(main(), clock)
    (stretch,) = stretches(parts)
    assert not recorder.gaps
    assert recorder.entries == len(stretch.entries) > 1_200
    names = [(each.unix_ms, each.number) for each in stretch.entries]
    assert names == [
        each.id for each in server.history if names[0] <= each.id <= names[-1] and each.payload != b"unreadable"
    ]


def test_a_checkpoint_of_another_version_ends_the_recording() -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 1) as (server, running):
            await asyncio.sleep(2)
            await running[0].kill()
            assert server.checkpoint is not None
            server.checkpoint = type(server.checkpoint)("i", server.checkpoint.folded, b"unknown")
            with pytest.raises(UnreadableState, match="a replica of another version leads"):
                await Recorder(MemoryLog(server), list[Part]().append, Pseudonyms(b"")).run()

    run_virtual(main(), clock)
