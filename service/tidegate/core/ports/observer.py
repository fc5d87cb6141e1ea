"""The protocol of observers, which receive events and open spans. The engine and the routes get one, or None."""

from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

from tidegate.core.domain.events import Event
from tidegate.core.ports.transport import Fields

__all__ = ["NULL_SCOPE", "Observer", "Scope", "ScopeKind", "scope_of"]


class ScopeKind(StrEnum):
    """A part of a call that gets a span.

    Scopes are entered and left in one task, each inside of the one before it. Their attributes have the names in
    `span_attributes`, or names that begin with `tidegate.`. Those in brackets are set when they are known. Every scope
    of a call that has a pool names it as `tidegate.pool`.
    """

    REQUEST = "request"
    """A call under `/v1`: method, route, path and scheme, client, server and protocol version, `tidegate.request_id`,
    and `traceparent` and `tracestate` as the client sent them, if it did [`tidegate.pool`, `tidegate.caller`,
    `tidegate.outcome`, `tidegate.cause`, status]."""
    CHAT = "chat"
    """One question to a model, with all its attempts and the whole answer: model, `tidegate.caller`, `max_tokens`
    [`tidegate.attempts`, usage, time to the first chunk, error type]."""
    GENERATE = "generate"
    """One workflow, with all its questions: model, `tidegate.caller` [`tidegate.outcome`]."""
    ACQUIRE = "acquire"
    """Admission to a pool: `tidegate.caller`, `tidegate.cost.…` per dimension [`tidegate.wait_seconds`,
    `tidegate.binding`: what holds it back, `tidegate.cause`: why it was refused]."""
    ATTEMPT = "attempt"
    """One request to the upstream, until the end of its answer: model, method, path, and number of earlier attempts, if
    there were any [status, error type, `tidegate.upstream_request_id`, of a failure `retry-after` and
    `tidegate.limited_by`]. Its `headers` are sent along."""
    RETRY_WAIT = "retry_wait"
    """The wait before a failed attempt is retried: `tidegate.reason`, `tidegate.wait_seconds`."""


class Scope(Protocol):
    """A span, used as a context manager. An exception that leaves it marks it as failed."""

    @property
    def traced(self) -> bool:
        """Whether scopes inside of it record anything: not if it was not sampled."""
        ...

    def set(self, name: str, value: str | float) -> None:
        """Sets an attribute. Never a prompt, completion or key."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Trace headers to send along; empty if nothing is traced."""
        ...

    def exemplar(self) -> Mapping[str, str] | None:
        """Trace and span id for the exemplar of a metric; None if nothing is sampled."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Observer(Protocol):
    """Receives events and spans. Implementations never raise and never block. Callers hold None if there is none."""

    @property
    def traces(self) -> bool:
        """Whether any scope records anything. If none does, callers need not open them."""
        ...

    def traces_call(self, fields: Fields) -> bool:
        """Whether the scopes of a call with these header fields record anything.

        Called once per call, before its first scope. If not, that scope is not opened, and those inside record nothing.
        """
        ...

    def event(self, event: Event) -> None:
        """Receives an event. May be called from any thread."""
        ...

    def scope(self, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
        """Opens a scope."""
        ...


class _NullScope:
    __slots__ = ()
    traced = False

    def set(self, name: str, value: str | float) -> None:
        """Ignores the attribute."""

    def headers(self) -> Mapping[str, str]:
        """No trace headers."""
        return {}

    def exemplar(self) -> None:
        """No exemplar."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


NULL_SCOPE: Final = _NullScope()
"""A scope that records nothing."""


def scope_of(observer: Observer | None, kind: ScopeKind, attributes: Mapping[str, str | float]) -> Scope:
    """A scope of the observer, or `NULL_SCOPE` without one."""
    return NULL_SCOPE if observer is None else observer.scope(kind, attributes)
