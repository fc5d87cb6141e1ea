from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.events import AttemptFinished
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.metrics.collectors.session_metrics import SessionMetrics
from tidegate.observe.observers import Observers
from tidegate.observe.recent.recent_sessions import MAX_SESSIONS, RecentSessions

_steps = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"])))


@given(_steps)
def test_the_distinct_sessions_of_the_last_five_minutes_are_counted(steps: list[tuple[int, str, str]]) -> None:
    sessions = RecentSessions()
    seen: dict[tuple[str, str], int] = {}
    now = 0

    for seconds, caller, session in steps:
        now += seconds
        sessions.see(caller, session, now * NS_PER_SECOND)
        seen[caller, session] = now
        assert sessions.count(now * NS_PER_SECOND) == sum(now - at < 300 for at in seen.values())


def test_invented_sessions_do_not_fill_the_memory() -> None:
    sessions = RecentSessions()

    for number in range(MAX_SESSIONS + 100):
        sessions.see("web", f"s-{number}", number)

    assert sessions.count(0) == MAX_SESSIONS


def test_calls_without_a_session_do_not_count() -> None:
    clock, registry = VirtualClock(), CollectorRegistry()
    observer = Observers(SessionMetrics.registered(registry, clock).handlers)

    for caller, session in (("a", "s"), ("b", "s"), ("a", "s"), ("a", "")):
        observer.event(AttemptFinished("p", "m", Caller(caller), "200", 1, session=session))

    assert registry.get_sample_value("tidegate_sessions_active") == 2
    clock.advance(300)
    assert registry.get_sample_value("tidegate_sessions_active") == 0
