"""The services behind the routes. The composition root creates them; tests use fakes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from opentelemetry.trace import TracerProvider
from starlette.types import ASGIApp

from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.audit import AuditTrail
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.key_store import KeyAdministration, KeyStore
from tidegate.core.ports.observer import Observer
from tidegate.core.ports.pauses import PauseAdministration
from tidegate.core.ports.store import Store
from tidegate.core.ports.store_status import SharedStatus
from tidegate.core.ports.usage_sink import UsageReports, UsageSink
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Tally
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier
from tidegate.rate_limiter import RateLimitConfig
from tidegate.settings import Settings
from tidegate.settings.loading.changes import Change
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["Exposition", "Generator", "Ledger", "Limiter", "PoolStore", "Reloads", "Services"]


class Generator(Protocol):
    """The part of `AIClient` that the routes use."""

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress | None = None, tally: Tally | None = None
    ) -> GenerationResult:
        """Generates a document; raises `Refusal`, `UpstreamError`, `RetriesExhausted` or `GenerationError`."""
        ...

    def status(self) -> dict[str, Any]:
        """Model, whether a key is configured, retry policy, counters."""
        ...


class Limiter(Protocol):
    """The part of `RateLimiter` that the routes use."""

    @property
    def config(self) -> RateLimitConfig:
        """The current settings."""
        ...

    def update_config(self, config: RateLimitConfig, *, by: str) -> None:
        """Replaces the settings. `by` says who does it."""
        ...

    @property
    def set_at_runtime(self) -> Mapping[str, SetAtRuntime]:
        """The author of each setting that is not the configuration's."""
        ...

    def get_stats(self) -> dict[str, Any]:
        """State, settings and counters."""
        ...


class PoolStore(Store, Protocol):
    """A store that returns the settings of its pools, and who set them."""

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings of a pool, or those that it would be created with."""
        ...

    def set_at_runtime(self, pool: str) -> Mapping[str, SetAtRuntime]:
        """The author of each limit that `configure` set, by name of the setting."""
        ...


class Ledger(UsageSink, UsageReports, Protocol):
    """The ledger of usage."""


class Exposition(Protocol):
    """Renders metrics."""

    def pieces(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Content type and body for an `Accept` header. Each piece is rendered when it is taken."""
        ...


class Reloads(Protocol):
    """The part of `Reloader` that the routes use."""

    async def reload(self, by: str) -> list[Change]:
        """Reloads the configuration and returns what changed; raises `ConfigurationError`, and then changes nothing.

        `by` says who asks for it.
        """
        ...


@dataclass(slots=True)
class Services:
    """The services behind the routes.

    Attributes:
        gateway: serves `/v1/…`.
        exposition: serves `/metrics`; None if metrics have a separate address.
        tracer_provider: creates server spans; None disables tracing.
        upstream_kind: `claude` or `simulator`; a header of every response names the simulator.
        new_request_id: returns a value for `x-tidegate-request-id`.
        join: makes this process a replica of the shared store, if there is one, while a block runs. Entered when all is
            ready, because others take a process for dead whose event loop is busy for long.
        shared_status: returns the state of the store that replicas share; None: it is in memory.
        reachability: whether the upstream is reachable; None disables the check.
        reloader: reloads the configuration; None: it cannot be reloaded.
        ledger: records usage and reports it; None: there is none.
        key_store: finds the keys of the ledger; None: there is none.
        keys: creates and ends them; None: there is no ledger.
        pauses: pauses and resumes callers; None: there is no ledger.
        audit: records what admins change; None: there is no ledger.
        price_sources: where prices are from, and when they were read.
        draining: set when shutdown starts; the service is not ready from then on.
    """

    settings: Settings
    store: PoolStore
    rate_limiter: Limiter
    ai_client: Generator
    identifier: Identifier
    access: AccessRules
    gateway: ASGIApp
    clock: Clock
    new_request_id: Callable[[], str]
    exposition: Exposition | None = None
    observer: Observer | None = None
    tracer_provider: TracerProvider | None = None
    upstream_kind: str = "claude"
    join: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    shared_status: Callable[[], SharedStatus] | None = None
    reachability: Reachability | None = None
    draining: bool = False
    reloader: Reloads | None = None
    ledger: Ledger | None = None
    key_store: KeyStore | None = None
    keys: KeyAdministration | None = None
    pauses: PauseAdministration | None = None
    audit: AuditTrail | None = None
    price_sources: Sequence[tuple[str, date]] = ()
