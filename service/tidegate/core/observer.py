"""How the world hears of what happens inside: the engine and the routes are given an `Observer`, or None."""

from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from tidegate.core.events import Event

__all__ = ["Observer", "Scope", "ScopeKind"]


class ScopeKind(StrEnum):
    """A stretch of time worth a span: one call of a route, and what happens inside it."""

    REQUEST = "request"
    CHAT = "chat"
    GENERATE = "generate"
    ACQUIRE = "acquire"
    ATTEMPT = "attempt"
    RETRY_WAIT = "retry_wait"


class Scope(Protocol):
    """One stretch of time, used as a context manager; an exception that leaves it marks it as failed."""

    def set(self, name: str, value: str | float) -> None:
        """Notes an attribute; never a prompt, completion or key."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Trace headers to send along; empty when nothing is traced."""
        ...

    def exemplar(self) -> Mapping[str, str] | None:
        """Trace and span id for a metric's exemplar; None when nothing is sampled."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Observer(Protocol):
    """Receives facts and spans. Implementations never raise and never block; callers hold None for "nobody listens"."""

    def event(self, event: Event) -> None:
        """A fact. May be called from any thread."""
        ...

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """Opens a scope."""
        ...
