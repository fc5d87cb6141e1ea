"""How the world hears of what happens inside: the engine and the routes are given an `Observer`, or None."""

from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

from tidegate.core.domain.events import Event
from tidegate.core.ports.transport import Fields

__all__ = ["NULL_SCOPE", "Observer", "Scope", "ScopeKind", "scope_of"]


class ScopeKind(StrEnum):
    """A stretch of time worth a span: one call of a route, and what happens inside it.

    Scopes are entered and left in one task, each inside of the one that was entered before it. Their attributes have
    the names in `core.conventions`, else names that begin with `tidegate.`; those in brackets are set when they are
    known. Every scope of a call that has a pool names it as `tidegate.pool`.
    """

    REQUEST = "request"
    """A call under `/v1`: method, route, path and scheme, `tidegate.request_id`, and `traceparent` and
    `tracestate` as the client sent them, if it did [`tidegate.pool`, `tidegate.caller`, `tidegate.outcome`,
    `tidegate.cause`, status]."""
    CHAT = "chat"
    """One question to a model, all its attempts and the whole answer: model, `tidegate.caller`, `max_tokens`
    [`tidegate.attempts`, usage, time to the first chunk, error type]."""
    GENERATE = "generate"
    """One workflow, all its questions: model, `tidegate.caller` [`tidegate.outcome`]."""
    ACQUIRE = "acquire"
    """Admission to a pool: `tidegate.caller`, `tidegate.cost.…` per dimension [`tidegate.wait_seconds`,
    `tidegate.binding`: what it waits for, `tidegate.cause`: why it was refused]."""
    ATTEMPT = "attempt"
    """One request to the upstream, to the end of its answer: model, count of attempts before it [status, error type].
    Its `headers` are sent along."""
    RETRY_WAIT = "retry_wait"
    """The wait before a failed attempt is repeated: `tidegate.reason`, `tidegate.wait_seconds`."""


class Scope(Protocol):
    """One stretch of time, used as a context manager; an exception that leaves it marks it as failed."""

    @property
    def traced(self) -> bool:
        """Whether scopes inside of it tell anybody anything: not if it was not sampled."""
        ...

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

    @property
    def traces(self) -> bool:
        """Whether any scope records anything: where none does, callers need not open them."""
        ...

    def traces_call(self, fields: Fields) -> bool:
        """Whether the scopes of a call that comes with these header fields record anything.

        Asked once of each call, before its first scope: if not, that is not opened, and those inside record nothing.
        """
        ...

    def event(self, event: Event) -> None:
        """A fact. May be called from any thread."""
        ...

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """Opens a scope."""
        ...


class _NullScope:
    __slots__ = ()
    traced = False

    def set(self, name: str, value: str | float) -> None:
        """Forgets the attribute."""

    def headers(self) -> Mapping[str, str]:
        """No trace headers."""
        return {}

    def exemplar(self) -> None:
        """Nothing is sampled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


NULL_SCOPE: Final = _NullScope()
"""A scope that nobody records."""


def scope_of(observer: Observer | None, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
    """A scope of the observer, or one that records nothing where there is none."""
    return NULL_SCOPE if observer is None else observer.scope(kind, attributes)
