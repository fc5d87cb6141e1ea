import pytest

from support.recording_observer import RecordingObserver
from tidegate.core.domain.events import Anomaly, Event, Frozen, Thawed
from tidegate.core.ports.observer import Observer, ScopeKind
from tidegate.observe.observers import Observers


def test_each_listener_hears_of_its_kinds_of_events_in_turn() -> None:
    heard: list[tuple[str, Event]] = []
    observer: Observer = Observers(
        [(Thawed, lambda event: heard.append(("a", event))), (Anomaly, lambda event: heard.append(("b", event)))],
        [(Thawed, lambda event: heard.append(("c", event)))],
    )

    observer.event(Thawed("p"))
    observer.event(Anomaly("p", "lease"))
    observer.event(Frozen("p", 1))

    assert heard == [("a", Thawed("p")), ("c", Thawed("p")), ("b", Anomaly("p", "lease"))]


def test_without_a_tracer_all_scopes_are_the_one_that_records_nothing() -> None:
    observer = Observers()
    with observer.scope(ScopeKind.REQUEST, {}) as scope:
        scope.set("route", "/v1/messages")
        assert scope.headers() == {}
        assert scope.exemplar() is None
    assert observer.scope(ScopeKind.ATTEMPT, {}) is scope


def test_a_scope_lets_errors_through() -> None:
    with pytest.raises(ZeroDivisionError), Observers().scope(ScopeKind.REQUEST, {}):
        raise ZeroDivisionError


def test_with_a_tracer_scopes_are_its_own() -> None:
    recorder = RecordingObserver()
    observer = Observers(tracing=recorder)
    assert observer.scope(ScopeKind.ATTEMPT, {}) is not Observers().scope(ScopeKind.ATTEMPT, {})
