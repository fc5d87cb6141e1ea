"""One observer for all who want to know."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from tidegate.core.domain.events import Event
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.transport import Fields

__all__ = ["Observers"]


class Tracer(Protocol):
    """Opens scopes; the methods are as in `Observer`."""

    def traces_call(self, fields: Fields) -> bool: ...

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope: ...


class Observers:
    """An `Observer` that hands each event to those who listen for its kind, and scopes to the tracer, if there is one.

    Args:
        listeners: which kind of event each hears of, in that order; they never raise and never block.
        tracing: opens scopes; None where nothing is traced.

    Attributes:
        traces: whether there is a tracer.
    """

    def __init__(
        self,
        *listeners: Iterable[tuple[type[Event], Callable[[Any], None]]],
        tracing: Tracer | None = None,
    ) -> None:
        self._listeners: dict[type[Event], tuple[Callable[[Any], None], ...]] = {}
        for kind, hear in (one for each in listeners for one in each):
            self._listeners[kind] = (*self._listeners.get(kind, ()), hear)
        self._tracing = tracing
        self.traces = tracing is not None

    def event(self, event: Event) -> None:
        """Hands on a fact."""
        for hear in self._listeners.get(type(event), ()):
            hear(event)

    def traces_call(self, fields: Fields) -> bool:
        """Whether a call is traced."""
        return self._tracing is not None and self._tracing.traces_call(fields)

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """A span, or a scope that records nothing."""
        return NULL_SCOPE if self._tracing is None else self._tracing.scope(kind, attributes)
