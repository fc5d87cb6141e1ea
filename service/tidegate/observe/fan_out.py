"""One observer for all who want to know."""

from collections.abc import Callable, Mapping

from tidegate.core.events import Event
from tidegate.core.observer import NULL_SCOPE, Scope, ScopeKind

__all__ = ["FanOut"]


class FanOut:
    """An `Observer` that hands each event to all its listeners in turn, and scopes to the tracer, if there is one.

    Args:
        listeners: what hears of events; they never raise and never block.
        scope: opens scopes; None where nothing is traced.
    """

    def __init__(
        self,
        *listeners: Callable[[Event], None],
        scope: Callable[[ScopeKind, Mapping[str, str | float]], Scope] | None = None,
    ) -> None:
        self._listeners = listeners
        self._scope = scope

    @property
    def traces(self) -> bool:
        """Whether there is a tracer."""
        return self._scope is not None

    def event(self, event: Event) -> None:
        """Hands on a fact."""
        for listener in self._listeners:
            listener(event)

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """A span, or a scope that records nothing."""
        return NULL_SCOPE if self._scope is None else self._scope(kind, attributes)
