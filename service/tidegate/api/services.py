"""What the routes work with: made once by the composition root, or of fakes by tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.trace import TracerProvider
from starlette.types import ASGIApp

from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer
from tidegate.core.ports.store import Store
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Tally
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier
from tidegate.rate_limiter import RateLimitConfig
from tidegate.settings import Settings

__all__ = ["Exposition", "Generator", "Limiter", "PoolStore", "Services"]


class Generator(Protocol):
    """What the routes need of `AIClient`."""

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress | None = None, tally: Tally | None = None
    ) -> GenerationResult:
        """Generates a document; raises `Refusal`, `UpstreamError`, `RetriesExhausted` or `GenerationError`."""
        ...

    def status(self) -> dict[str, Any]:
        """Model, configured or not, retry policy, counters."""
        ...


class Limiter(Protocol):
    """What the routes need of `RateLimiter`."""

    @property
    def config(self) -> RateLimitConfig:
        """The settings in force."""
        ...

    def update_config(self, config: RateLimitConfig) -> None:
        """Puts other settings in force."""
        ...

    def get_stats(self) -> dict[str, Any]:
        """State, settings and counters."""
        ...


class PoolStore(Store, Protocol):
    """A store that also tells the settings it holds."""

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings that a pool has, or would have."""
        ...


class Exposition(Protocol):
    """Renders metrics."""

    def pieces(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Content type and body that an `Accept` header asks for; each piece is rendered when it is taken."""
        ...


@dataclass(slots=True)
class Services:
    """The parts behind the routes.

    Attributes:
        gateway: serves `/v1/…`.
        exposition: serves `/metrics`; None when it has an address of its own.
        tracer_provider: where server spans go; None where nothing is traced.
        upstream_kind: `claude` or `simulator`; every answer says so when it is not the real one.
        new_request_id: makes the value of `x-tidegate-request-id`.
        reachability: whether the upstream can be reached; None: nobody tracks it.
        draining: set when the service is about to stop; readiness fails from then on.
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
    reachability: Reachability | None = None
    draining: bool = False
