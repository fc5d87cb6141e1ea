"""A store takes new settings and callers' limits while requests wait: nobody loses a place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.runtime_settings import SetAtRuntime

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST, settle_at_once=True)
WIDE = PoolSettings({Dimension.REQUESTS: LimitSettings(60_000, 1_000)}, AdaptiveSettings())


def requests(per_minute: float, *, input_tokens: float | None = None, caps: int = 10_000) -> PoolSettings:
    limits = {Dimension.REQUESTS: LimitSettings(per_minute, 1)}
    if input_tokens is not None:
        limits[Dimension.INPUT_TOKENS] = LimitSettings(input_tokens, input_tokens)
    return PoolSettings(limits, caps=QueueCaps(caps))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_new_limits_hold_for_waiting_requests_at_once(clock: VirtualClock) -> None:
    store, changes = MemoryStore(clock, {"p": requests(6)}), list[Change]()
    for lease_id in ("a", "b", "c"):
        store.reserve_now(lease_id, ONE)
    store.watch(changes.append)
    store.reload({"p": requests(60)}, PoolSettings())
    assert changes[-1].next_in_ns == 1 * S
    clock.advance(1)
    store.advance("p")
    assert changes[-1].granted == ("b",)


def test_a_pool_without_an_entry_follows_the_other_settings(clock: VirtualClock) -> None:
    store = MemoryStore(clock, {"named": requests(6)}, requests(60))
    for pool in ("named", "q"):
        store.advance(pool)
    store.reload({}, requests(600))
    rates = {pool.pool: pool.dimensions[0].configured_per_minute for pool in store.snapshot_now()}
    assert rates == {"named": 600, "q": 600}
    assert store.settings_now("later") == requests(600)


def test_new_caps_of_a_queue_refuse_no_present_waiter(clock: VirtualClock) -> None:
    store = MemoryStore(clock, {"p": requests(6, caps=5)})
    assert [type(store.reserve_now(str(number), ONE)) for number in range(4)] == [Granted, Wait, Wait, Wait]
    store.reload({"p": requests(6, caps=1)}, PoolSettings())
    assert store.snapshot_now("p")[0].waiting == 3


class TestWhatConfigureSet:
    def test_holds_while_the_configuration_stays_the_same(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": requests(6), "q": requests(6)})
        store.configure_now("p", requests(600))
        store.reload({"p": requests(6), "q": requests(7)}, PoolSettings())
        assert (store.settings_now("p"), store.settings_now("q")) == (requests(600), requests(7))

    def test_holds_in_each_dimension_that_stays_the_same(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": requests(6)})
        store.configure_now("p", requests(600))
        store.reload({"p": requests(6, input_tokens=50)}, PoolSettings())
        assert store.settings_now("p") == requests(600, input_tokens=50)
        store.reload({"p": requests(8, input_tokens=50)}, PoolSettings())
        assert store.settings_now("p") == requests(8, input_tokens=50)
        assert store.dump().configured == ()

    def test_has_its_origin_until_the_configuration_changes_there(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": requests(6, input_tokens=50)})
        by_ann = SetAtRuntime("ann", clock.wall_seconds())
        store.configure_now("p", requests(600, input_tokens=50), "ann")
        clock.advance(9)
        by_ben = SetAtRuntime("ben", clock.wall_seconds())
        store.configure_now("p", requests(600, input_tokens=70), "ben")
        assert store.set_at_runtime("p") == {"requests_per_minute": by_ann, "input_tokens_per_minute": by_ben}
        store.reload({"p": requests(6, input_tokens=60)}, PoolSettings())
        assert store.set_at_runtime("p") == {"requests_per_minute": by_ann}
        store.reload({"p": requests(8, input_tokens=60)}, PoolSettings())
        assert store.set_at_runtime("p") == {}

    def test_has_no_origin_once_it_is_as_the_configuration_says(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": requests(6)})
        store.configure_now("p", requests(600), "ann")
        store.configure_now("p", requests(6), "ben")
        assert store.set_at_runtime("p") == {}

    def test_ends_with_a_change_of_the_settings_of_all_pools(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {}, requests(6))
        store.configure_now("p", requests(600))
        store.reload({}, requests(7))
        assert store.settings_now("p") == requests(7)


class TestCallersLimits:
    def test_hold_for_waiting_requests(self, clock: VirtualClock) -> None:
        store, changes = MemoryStore(clock, {"p": WIDE}), list[Change]()
        one_at_a_time = structs.replace(
            ONE, caller=Caller("ann", limits=CallerLimits(max_concurrent=1)), settle_at_once=False
        )
        assert store.reserve_now("a", one_at_a_time) == GRANTED
        assert isinstance(store.reserve_now("b", one_at_a_time), Wait)
        store.watch(changes.append)
        store.limit_callers({"ann": CallerLimits(max_concurrent=2)})
        assert [change.granted for change in changes] == [("b",)]

    def test_are_those_of_the_configuration_for_a_call_that_came_before(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": WIDE})
        old = structs.replace(ONE, caller=Caller("ann", limits=CallerLimits(max_concurrent=1)), settle_at_once=False)
        store.limit_callers({"ann": None})
        assert [store.reserve_now(lease_id, old) for lease_id in "abc"] == [GRANTED] * 3


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([1.0, 6.0, 60.0, 6_000.0])), max_size=5),
)
def test_requests_of_a_caller_are_granted_in_their_order_whatever_is_reloaded(
    names: list[str], reloads: list[tuple[int, float]]
) -> None:
    clock = VirtualClock()
    store, granted = MemoryStore(clock, {"p": requests(6)}), list[str]()
    store.watch(lambda change: granted.extend(change.granted))
    for number, name in enumerate(names):
        weight = float(1 + number % 3)
        lease_id = f"{name}{number}"
        if store.reserve_now(lease_id, structs.replace(ONE, caller=Caller(name, weight=weight))) == GRANTED:
            granted.append(lease_id)
        for at, per_minute in reloads:
            if at == number:
                store.reload({"p": requests(per_minute)}, PoolSettings())
                store.limit_callers({"a": None})
    for _ in range(len(names)):
        clock.advance(60)
        store.advance("p")
    assert len(granted) == len(names), "nobody is forgotten"
    for name in "abc":
        own = [lease_id for lease_id in granted if lease_id[0] == name]
        assert own == sorted(own, key=lambda lease_id: int(lease_id[1:]))


def granted_in_turn(names: str, reloads: dict[int, float]) -> list[str]:
    """The order in which requests of these callers go, one a minute; settings are reloaded before some of them.

    The rate of the pool stays. At another rate, later requests cost their callers another share of its time, so that
    callers may take turns differently. Each caller's own requests keep their order, as above.
    """
    clock = VirtualClock()
    store, granted = MemoryStore(clock, {"p": requests(1)}), list[str]()
    store.watch(lambda change: granted.extend(change.granted))
    assert store.reserve_now("first", ONE) == GRANTED
    for number, name in enumerate(names):
        store.reserve_now(f"{name}{number}", structs.replace(ONE, caller=Caller(name)))
    for step in range(len(names)):
        if step in reloads:
            store.reload({"p": requests(1, caps=1)}, requests(reloads[step]))
            store.limit_callers({"a": None, "d": CallerLimits(max_concurrent=1)})
        clock.advance(60)
        store.advance("p")
    return granted


@given(
    st.text("abc", min_size=1, max_size=15),
    st.dictionaries(st.integers(0, 15), st.sampled_from([1.0, 2.0, 60.0, 6_000.0]), max_size=6),
)
def test_no_waiting_request_loses_its_place_by_a_reload(names: str, reloads: dict[int, float]) -> None:
    undisturbed = granted_in_turn(names, {})
    assert len(undisturbed) == len(names)
    assert granted_in_turn(names, reloads) == undisturbed
