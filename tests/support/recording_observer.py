"""An `Observer` that remembers the facts it hears."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

from tidegate.core.events import Event
from tidegate.core.observer import Scope, ScopeKind

E = TypeVar("E")


class RecordingObserver:
    """Implements `core.observer.Observer`; `events` are in the order of arrival."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        del kind, attributes
        return _SilentScope()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class _SilentScope:
    def set(self, name: str, value: str | float) -> None:
        pass

    def headers(self) -> Mapping[str, str]:
        return {}

    def exemplar(self) -> Mapping[str, str] | None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass
