"""Dispatches events and scopes to metrics, logs and traces."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from tidegate.core.domain.events import Event
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.transport import Fields

__all__ = ["Observers"]


class Tracer(Protocol):
    """The tracing half of `Observer`."""

    def traces_call(self, fields: Fields) -> bool: ...

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope: ...


class Observers:
    """An `Observer` that passes each event to the handlers of its type, and scopes to the tracer.

    Args:
        handlers: pairs of an event type and a handler. Handlers run in this order; they must not raise or block.
        tracing: opens scopes; None disables tracing.

    Attributes:
        traces: whether there is a tracer.
    """

    def __init__(
        self,
        *handlers: Iterable[tuple[type[Event], Callable[[Any], None]]],
        tracing: Tracer | None = None,
    ) -> None:
        self._handlers: dict[type[Event], tuple[Callable[[Any], None], ...]] = {}
        for event_type, handle in itertools.chain.from_iterable(handlers):
            self._handlers[event_type] = (*self._handlers.get(event_type, ()), handle)
        self._tracing = tracing
        self.traces = tracing is not None

    def event(self, event: Event) -> None:
        """Calls the handlers of this type of event."""
        for handle in self._handlers.get(type(event), ()):
            handle(event)

    def traces_call(self, fields: Fields) -> bool:
        """Whether a call is traced."""
        return self._tracing is not None and self._tracing.traces_call(fields)

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """Returns a scope that records a span, or one that records nothing."""
        return NULL_SCOPE if self._tracing is None else self._tracing.scope(kind, attributes)
