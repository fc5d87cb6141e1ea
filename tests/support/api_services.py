"""The service's routes with a real limiter and store on a virtual clock, and a scripted generator."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from support.virtual_time import VirtualClock
from tidegate.api.app import create_api
from tidegate.api.dispatcher import Dispatcher
from tidegate.api.services import Services
from tidegate.core.domain.usage import Usage
from tidegate.engine.admission import Admission
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Progress, Tally
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.settings import Settings
from tidegate.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOCUMENT = {
    "document": {"dsl": "1.0.0", "namespace": "default", "name": "demo", "version": "0.1.0"},
    "do": [{"wait": {"wait": {"seconds": 1}}}],
}


class FakeGenerator:
    """Reports `progress` with pauses of `seconds_between`, waits `seconds`, then raises `error` or returns DOCUMENT.

    In both cases its tally is `taken`.
    """

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.progress: Sequence[Progress] = ()
        self.seconds_between = 0.0
        self.seconds = 0.0
        self.error: Exception | None = None
        self.taken = Tally(2, 1.5, Usage(100, 50, 10, 5))
        self.cancelled = 0
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress | None = None, tally: Tally | None = None
    ) -> GenerationResult:
        self.requests.append(request)
        self.started.set()
        try:
            for progress in self.progress:
                if on_progress is not None:
                    on_progress(progress)
                await asyncio.sleep(self.seconds_between)
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            self.stopped.set()
            raise
        taken = self.taken
        if tally is not None:
            tally.attempts, tally.queue_seconds, tally.usage = taken.attempts, taken.queue_seconds, taken.usage
        if self.error is not None:
            raise self.error
        return GenerationResult(
            document=DOCUMENT,
            model=request.model or "claude-sonnet-5-5",
            usage=taken.usage,
            attempts=taken.attempts,
            queue_seconds=taken.queue_seconds,
            notes=("a note",),
        )

    def status(self) -> dict[str, Any]:
        return {"model": "claude-sonnet-5-5", "configured": True}


class FakeExposition:
    def pieces(self, accept: str) -> tuple[str, Iterator[bytes]]:
        return "text/plain; version=0.0.4", iter((b"# for ", accept.encode(), b"\n"))


FAKE_EXPOSITION = FakeExposition()


def make_services(settings: Settings | None = None, **changes: Any) -> Services:
    """Create services for a test; `changes` replace parts."""
    settings = settings or Settings()
    clock = VirtualClock()
    store = MemoryStore(clock, settings.named_pool_settings(), settings.messages_pool_settings())
    limiter = RateLimiter(
        RateLimitConfig(base_delay=2.0, max_delay=30.0), store=store, admission=Admission(store, clock)
    )
    numbers = count(1)
    new_request_id: Callable[[], str] = lambda: f"req_{next(numbers)}"  # noqa: E731
    parts: dict[str, Any] = {
        "settings": settings,
        "store": store,
        "rate_limiter": limiter,
        "ai_client": FakeGenerator(),
        "identifier": Identifier(settings.callers),
        "access": AccessRules.of(settings),
        "gateway": PlainTextResponse("from the gateway"),
        "clock": clock,
        "new_request_id": new_request_id,
        "exposition": FAKE_EXPOSITION,
    }
    return Services(**{**parts, **changes})


class _CurrentServices:
    """The services of the app that serves the current calls."""

    def __init__(self) -> None:
        self.chosen: Services | None = None
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chosen, name)

    @contextmanager
    def are(self, services: Services) -> Iterator[None]:
        assert self.calls == 0 or self.chosen is services, "calls of another app are in progress"
        self.chosen = services
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1


@cache
def _shared_api(exposition: FakeExposition | None) -> tuple[_CurrentServices, ASGIApp]:
    current = _CurrentServices()
    with current.are(make_services(exposition=exposition)):
        return current, create_api(cast("Services", current))


def app_of(services: Services) -> ASGIApp:
    """As `create_app`, but all apps share their routes: making them takes 50 ms.

    The services are not traced, and their exposition is `FAKE_EXPOSITION` or None.
    """
    assert services.tracer_provider is None
    assert services.exposition in {FAKE_EXPOSITION, None}
    current, api = _shared_api(services.exposition)
    dispatcher = Dispatcher(services, api)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with current.are(services):
            await dispatcher(scope, receive, send)

    return app
