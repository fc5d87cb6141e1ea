"""A restart keeps the learned state: two services in turn on one state folder, on virtual time."""

import asyncio
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.virtual_time import VirtualClock, run_virtual
from tidegate.cli.hand_over.saved_state import StateSaver
from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.state_folder import StateFolder

POOL = "sonnet-5-5"
ONE = Demand(POOL, DEFAULT_CALLER, ONE_REQUEST)


class Service:
    """The parts of one service that a restart keeps, with a monotonic clock of its own."""

    def __init__(self, folder: StateFolder, wall: VirtualClock, *, starts_s: float = 1_000.0, **config: float) -> None:
        self.clock = VirtualClock(starts_s)
        self.store = MemoryStore(self.clock)
        self.admission = Admission(self.store, self.clock)
        self.limiter = RateLimiter(RateLimitConfig(**config), store=self.store, admission=self.admission)  # type: ignore[arg-type]
        self.saver = StateSaver(
            folder, self.store, self.admission, self.limiter, lambda: round(wall.wall_seconds() * 1e9)
        )
        self.saver.restore()

    def learn_limit(self, per_minute: int, remaining: int) -> None:
        self.store.reserve_now("first", ONE)
        self.store.learn_now(
            POOL,
            LimitReport(
                DimensionReport(per_minute, remaining, (per_minute - remaining) * 60_000_000_000 // per_minute),
                lease_id="first",
            ),
        )
        self.store.end_now(POOL, "first", Outcome.SETTLED, ONE_REQUEST)

    def available(self) -> float:
        (snapshot,) = self.store.snapshot_now(POOL)
        (available,) = (each.available for each in snapshot.dimensions if each.dimension is Dimension.REQUESTS)
        assert available is not None
        return available


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


def test_with_a_shared_store_the_folder_keeps_prices_alone(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall)
        before.learn_limit(60, 10)
        before.limiter.update_config(RateLimitConfig(requests_per_minute=77))
        shape = MessageShape("ann", "claude-sonnet-5-5", PromptSize(500), 1_024)
        now_ns = before.clock.monotonic_ns()
        for _ in range(20):
            before.admission.estimator.observe(shape, Usage(500, 40), now_ns, text_bytes=150, written_ns=NS_PER_SECOND)
        saver = StateSaver(folder, None, before.admission, before.limiter, lambda: round(wall.wall_seconds() * 1e9))
        folder.write(saver.dump(is_final=True))
        after = Service(folder, wall)
    assert after.store.snapshot_now(POOL) == ()
    assert after.limiter.config.requests_per_minute == 77  # this service has no shared store, which would have its own
    assert after.admission.estimator.quote(shape, now_ns) == before.admission.estimator.quote(shape, now_ns)


def test_limits_and_levels_continue_with_their_age(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall)
        before.learn_limit(60, 10)
        folder.write(before.saver.dump(is_final=True))
        wall.advance(20)
        after = Service(folder, wall, starts_s=5.0)  # the machine was restarted: its monotonic clock, too
        assert after.available() == pytest.approx(before.available() + 20)


def test_after_a_crash_the_time_since_the_last_save_refills_nothing(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall)
        before.learn_limit(60, 10)
        folder.write(before.saver.dump(is_final=False))
        wall.advance(1.5)
        assert Service(folder, wall).available() == pytest.approx(before.available())
        wall.advance(1.5)
        assert Service(folder, wall).available() == pytest.approx(before.available() + 1)


def test_a_freeze_lasts_over_a_restart(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall)
        before.learn_limit(60, 10)
        before.store.learn_now(POOL, RateLimited(30_000_000_000))
        folder.write(before.saver.dump(is_final=True))
        wall.advance(10)
        (snapshot,) = Service(folder, wall).store.snapshot_now(POOL)
        assert snapshot.frozen_seconds == pytest.approx(20)


def test_settings_that_were_made_at_runtime_hold_until_the_file_changes(folder: StateFolder) -> None:
    wall = VirtualClock()
    limits = PoolSettings({Dimension.REQUESTS: LimitSettings(30, 5)})
    with folder:
        before = Service(folder, wall, requests_per_minute=20)
        before.limiter.update_config(RateLimitConfig(requests_per_minute=15, burst_limit=3))
        before.store.configure_now(POOL, limits)
        folder.write(before.saver.dump(is_final=True))
        same = Service(folder, wall, requests_per_minute=20)
        assert (same.limiter.config.requests_per_minute, same.limiter.config.burst_limit) == (15, 3)
        assert same.store.settings_now(DEFAULT_POOL).limits[Dimension.REQUESTS].per_minute == 15
        assert same.store.settings_now(POOL) == limits
        changed = Service(folder, wall, requests_per_minute=40)
        assert changed.limiter.config.requests_per_minute == 40
        assert changed.store.settings_now(DEFAULT_POOL).limits[Dimension.REQUESTS].per_minute == 40


def test_the_author_and_time_of_a_configured_value_are_kept(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall, requests_per_minute=20)
        set_at = before.clock.wall_seconds()
        before.limiter.update_config(RateLimitConfig(requests_per_minute=15, burst_limit=3), by="ops")
        before.store.configure_now(POOL, PoolSettings({Dimension.REQUESTS: LimitSettings(30, 5)}), "ann")
        for _ in range(2):
            folder.write(before.saver.dump(is_final=True))
            before = Service(folder, wall, requests_per_minute=20)
        by_ops = SetAtRuntime("ops", set_at)
        assert before.limiter.set_at_runtime == {"requests_per_minute": by_ops, "burst_limit": by_ops}
        assert before.store.set_at_runtime(POOL) == {"requests_per_minute": SetAtRuntime("ann", set_at)}
        changed = Service(folder, wall, requests_per_minute=40)
        assert changed.limiter.config == RateLimitConfig(requests_per_minute=40, burst_limit=3)
        assert changed.limiter.set_at_runtime == {"burst_limit": by_ops}
        assert changed.store.settings_now(DEFAULT_POOL) == changed.limiter.config.pool_settings()


def test_configured_values_that_no_longer_fit_the_file_are_dropped(
    folder: StateFolder, caplog: pytest.LogCaptureFixture
) -> None:
    wall = VirtualClock()
    with folder:
        before = Service(folder, wall)
        before.limiter.update_config(RateLimitConfig(requests_per_minute=15, max_delay=5))
        folder.write(before.saver.dump(is_final=True))
        after = Service(folder, wall, base_delay=20)
        assert after.limiter.config == RateLimitConfig(base_delay=20)
        assert after.limiter.set_at_runtime == {}
        assert after.store.settings_now(DEFAULT_POOL) == after.limiter.config.pool_settings()
    assert "do not fit the configuration, and are dropped: max_delay: got 5" in caplog.text


def test_a_file_from_before_origins_were_kept_is_read(folder: StateFolder) -> None:
    wall = VirtualClock()
    limits = PoolSettings({Dimension.REQUESTS: LimitSettings(30, 5)})
    with folder:
        before = Service(folder, wall)
        before.limiter.update_config(RateLimitConfig(requests_per_minute=15))
        before.store.configure_now(POOL, limits)
        fields: list[Any] = msgspec.msgpack.decode(before.saver.dump(is_final=True)[4:])
        fields.pop()  # of the older limiter
        store = fields[3]
        for configured in store[2]:
            configured.pop()
        content = msgspec.msgpack.encode(fields)
        folder.write(zlib.crc32(content).to_bytes(4) + content)
        after = Service(folder, wall)
        assert after.limiter.config.requests_per_minute == 15
        assert after.store.settings_now(POOL) == limits
        assert (after.limiter.set_at_runtime, after.store.set_at_runtime(POOL)) == ({}, {})


def test_a_configured_value_survives_a_second_restart(folder: StateFolder) -> None:
    wall = VirtualClock()
    with folder:
        first = Service(folder, wall)
        first.limiter.update_config(RateLimitConfig(requests_per_minute=15))
        for _ in range(2):
            folder.write(first.saver.dump(is_final=True))
            first = Service(folder, wall)
        assert first.limiter.config.requests_per_minute == 15


@pytest.mark.parametrize("content", [b"junk", b""])
def test_an_unreadable_file_is_one_line_in_the_log(
    folder: StateFolder, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_bytes(content)
    with folder:
        Service(folder, VirtualClock())
    (record,) = [record for record in caplog.records if record.name == "tidegate.state"]
    assert "starting without it" in record.getMessage()
    assert (tmp_path / "state.unreadable").read_bytes() == content


def test_a_whole_file_of_another_version_is_set_aside(
    folder: StateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with folder:
        folder.write(b"not a state")
        Service(folder, VirtualClock())
    assert "starting without it" in caplog.text
    assert (tmp_path / "state.unreadable").exists()


def test_the_state_is_saved_while_the_service_runs_and_at_its_end(folder: StateFolder) -> None:
    wall = VirtualClock()

    async def main(clock: VirtualClock) -> None:
        service = Service(folder, wall)
        async with service.saver.saving():
            service.learn_limit(60, 10)
            await asyncio.sleep(2.5)
            assert folder.read() is not None
            service.limiter.update_config(RateLimitConfig(requests_per_minute=15))
        assert clock.elapsed_s == 2.5

    with folder:
        clock = VirtualClock()
        run_virtual(main(clock), clock)
        assert Service(folder, wall).limiter.config.requests_per_minute == 15


def test_a_full_disk_is_logged_once_and_when_it_is_over(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tidegate.state")

    def fail(_self: StateFolder, _state: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with Service(folder, VirtualClock()).saver.saving():
            with monkeypatch.context() as patch:
                patch.setattr(StateFolder, "write", fail)
                await asyncio.sleep(7)
            await asyncio.sleep(2)

    with folder:
        run_virtual(main(), VirtualClock())
    lines = [record.getMessage() for record in caplog.records if record.name == "tidegate.state"]
    assert lines == [
        f"the state cannot be saved in {folder.path}, and a restart would forget it: No space left on device",
        "the state is saved again",
    ]


@pytest.fixture(scope="module")
def written() -> bytes:
    """The state of a service that has learned and was configured, as `StateSaver` writes it."""
    with TemporaryDirectory() as path, StateFolder(Path(path)) as folder:
        service = Service(folder, VirtualClock())
        service.learn_limit(60, 10)
        service.store.configure_now(POOL, PoolSettings({Dimension.REQUESTS: LimitSettings(30, 5)}))
        service.limiter.update_config(RateLimitConfig(requests_per_minute=15))
        shape = MessageShape("ann", "claude-sonnet-5-5", PromptSize(500), 1_024)
        service.admission.estimator.observe(shape, Usage(500, 100), 0, text_bytes=300, written_ns=NS_PER_SECOND)
        return service.saver.dump(is_final=False)


def starts_with(content: bytes) -> list[str]:
    """Starts a service with this file, makes a call, and saves. Returns the warnings."""
    with TemporaryDirectory() as path, StateFolder(Path(path)) as folder:
        (Path(path) / "state").write_bytes(content)
        logs = logging.getLogger("tidegate.state")
        records: list[str] = []
        listener = logging.Handler(logging.WARNING)
        listener.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
        logs.addHandler(listener)
        try:
            service = Service(folder, VirtualClock())
        finally:
            logs.removeHandler(listener)
        service.clock.advance(3)
        service.store.reserve_now("call", ONE)
        service.store.end_now(POOL, "call", Outcome.SETTLED, ONE_REQUEST)
        service.saver.dump(is_final=True)
        assert (Path(path) / "state.unreadable").exists() is bool(records)
        return records


def file_of(content: bytes) -> bytes:
    """A state file with valid checksums of any MessagePack."""
    with TemporaryDirectory() as path, StateFolder(Path(path)) as folder:
        folder.write(zlib.crc32(content).to_bytes(4) + content)
        return (Path(path) / "state").read_bytes()


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a decoded one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*at, key)
        yield from places_in(each, (*at, key))


@given(share=st.floats(0, 1, exclude_max=True))
def test_it_starts_with_a_file_that_is_cut_at_any_byte(written: bytes, share: float) -> None:
    whole = file_of(written[4:])
    (line,) = starts_with(whole[: int(share * len(whole))])
    assert "starting without it" in line


@given(share=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_it_starts_with_a_changed_byte_under_valid_checksums(written: bytes, share: float, byte: int) -> None:
    content = bytearray(written[4:])
    content[int(share * len(content))] = byte
    assert len(starts_with(file_of(bytes(content)))) <= 1


def test_it_starts_without_an_age_that_the_next_dump_could_not_encode(written: bytes) -> None:
    state = msgspec.msgpack.decode(written[4:])
    forecast = state[3][0][0][6]
    forecast[1][2][2] = 2**64 - 1  # one nanosecond older, it does not fit into MessagePack
    (line,) = starts_with(file_of(msgspec.msgpack.encode(state)))
    assert "it has values that cannot be restored" in line


IMPOSSIBLE: list[Any] = [
    None,
    0,
    -1,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    1.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    [],
    True,
]


@given(draw=st.data(), value=st.sampled_from(IMPOSSIBLE))
def test_it_starts_with_any_value_under_valid_checksums(written: bytes, draw: st.DataObject, value: object) -> None:
    state = msgspec.msgpack.decode(written[4:])
    *path, last = draw.draw(st.sampled_from(list(places_in(state))))
    place = state
    for key in path:
        place = place[key]
    place[last] = value
    assert len(starts_with(file_of(msgspec.msgpack.encode(state)))) <= 1


def test_a_state_that_cannot_be_restored_leaves_nothing_half_restored(
    folder: StateFolder, written: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_state: object, _now_ns: int) -> None:
        raise OverflowError("cannot convert float infinity to integer")

    monkeypatch.setattr(CostEstimator, "restore", fail)
    with folder:
        folder.write(written)
        service = Service(folder, VirtualClock())
        assert service.limiter.config.requests_per_minute != 15
        assert service.store.snapshot_now(POOL) == ()
    assert "it has values that cannot be restored: OverflowError" in caplog.text
