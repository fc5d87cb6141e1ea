"""An `Observer` that records events and scopes."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

from tidegate.core.domain.events import Event
from tidegate.core.ports.observer import NULL_SCOPE, Scope, ScopeKind
from tidegate.core.ports.transport import Fields

E = TypeVar("E")

_current: ContextVar["RecordedScope | None"] = ContextVar("current scope", default=None)


class RecordedScope:
    """A scope with its attributes, and the scopes inside it."""

    def __init__(self, observer: "RecordingObserver", kind: ScopeKind, attributes: Mapping[str, str | float]) -> None:
        self.kind = kind
        self.attributes = dict(attributes)
        self.children: list[RecordedScope] = []
        self.open = False
        self.error: BaseException | None = None
        self.traced = observer.samples
        self._observer = observer
        self._around: RecordedScope | None = None

    def set(self, name: str, value: str | float) -> None:
        self.attributes[name] = value

    def headers(self) -> Mapping[str, str]:
        return self._observer.trace_headers

    def exemplar(self) -> Mapping[str, str] | None:
        return None

    def tree(self) -> Any:
        """The kind of the scope, and the trees of the scopes inside it."""
        return (str(self.kind), [child.tree() for child in self.children]) if self.children else str(self.kind)

    def __enter__(self) -> Self:
        assert not self.open
        self._around = around = _current.get()
        (self._observer.roots if around is None else around.children).append(self)
        self._observer.scopes.append(self)
        _current.set(self)
        self.open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.open
        _current.set(self._around)  # not `reset`: a scope left by a closed event loop is closed in another context
        self.open = False
        self.error = error


class RecordingObserver:
    """Implements `core.ports.observer.Observer`.

    Attributes:
        events: Events in order.
        heard_in: For each event, the kind of its scope; None without one.
        roots: Scopes that are not inside another one.
        scopes: All scopes in order.
        trace_headers: Headers that every scope adds to upstream requests.
        samples: Whether nested scopes are recorded.
        asked: Header fields passed to `traces_call`.
        traces_calls: The result of `traces_call`.
    """

    traces = True

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.heard_in: list[ScopeKind | None] = []
        self.roots: list[RecordedScope] = []
        self.scopes: list[RecordedScope] = []
        self.trace_headers: Mapping[str, str] = {}
        self.samples = True
        self.asked: list[Fields] = []
        self.traces_calls = True

    def traces_call(self, fields: Fields) -> bool:
        self.asked.append(fields)
        return self.traces_calls

    def event(self, event: Event) -> None:
        around = _current.get()
        self.events.append(event)
        self.heard_in.append(None if around is None else around.kind)

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        is_inside = _current.get() is not None
        return NULL_SCOPE if is_inside and not self.samples else RecordedScope(self, kind, attributes)

    def of(self, kind: type[E]) -> list[E]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def scopes_of(self, kind: ScopeKind) -> list[RecordedScope]:
        """Scopes of one kind."""
        return [scope for scope in self.scopes if scope.kind is kind]
