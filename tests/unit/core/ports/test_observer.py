"""Scopes where somebody listens, and where nobody does."""

from support.recording_observer import RecordingObserver
from tidegate.core.ports.observer import NULL_SCOPE, ScopeKind, scope_of


def test_an_observer_opens_the_scope() -> None:
    observer = RecordingObserver()
    with scope_of(observer, ScopeKind.ATTEMPT, {"tidegate.pool": "sonnet"}):
        pass
    (scope,) = observer.scopes
    assert (scope.kind, scope.attributes) == (ScopeKind.ATTEMPT, {"tidegate.pool": "sonnet"})


def test_a_scope_without_an_observer_records_nothing() -> None:
    with scope_of(None, ScopeKind.ATTEMPT, {}) as scope:
        scope.set("tidegate.pool", "sonnet")
        assert scope.headers() == {}
        assert scope.exemplar() is None
    assert scope is NULL_SCOPE
