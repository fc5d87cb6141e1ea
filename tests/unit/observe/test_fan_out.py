import pytest

from support.recording_observer import RecordingObserver
from tidegate.core.events import Event, Thawed
from tidegate.core.observer import Observer, ScopeKind
from tidegate.observe.fan_out import FanOut


def test_each_listener_hears_each_event_in_turn() -> None:
    heard: list[tuple[str, Event]] = []
    observer: Observer = FanOut(lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event)))

    observer.event(Thawed("p"))

    assert heard == [("a", Thawed("p")), ("b", Thawed("p"))]


def test_without_a_tracer_all_scopes_are_the_one_that_records_nothing() -> None:
    observer = FanOut()
    with observer.scope(ScopeKind.REQUEST, {}) as scope:
        scope.set("route", "/v1/messages")
        assert scope.headers() == {}
        assert scope.exemplar() is None
    assert observer.scope(ScopeKind.ATTEMPT, {}) is scope


def test_a_scope_lets_errors_through() -> None:
    with pytest.raises(ZeroDivisionError), FanOut().scope(ScopeKind.REQUEST, {}):
        raise ZeroDivisionError


def test_with_a_tracer_scopes_are_its_own() -> None:
    recorder = RecordingObserver()
    observer = FanOut(scope=recorder.scope)
    assert observer.scope(ScopeKind.ATTEMPT, {}) is not FanOut().scope(ScopeKind.ATTEMPT, {})
