"""The SDK with the simulator, in one process and on a virtual clock, without sockets."""

import asyncio

import anthropic
import httpx2

from claude_simulator import NO_LATENCY, Fault, SimulatorOptions, create_app
from support.virtual_time import VirtualClock
from tidegate.core.ports.observer import Observer
from tidegate.engine.admission import Admission
from tidegate.generation.claude import ClaudeModel
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore


class SimulatedClaude:
    """A `ClaudeModel` with a simulator, for faults."""

    def __init__(
        self,
        *faults: Fault,
        config: RateLimitConfig | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        observer: Observer | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.store = MemoryStore(self.clock)
        self.admission = Admission(self.store, self.clock, observer)
        self.limiter = RateLimiter(
            config or RateLimitConfig(jitter_factor=0), store=self.store, admission=self.admission
        )
        app = create_app(SimulatorOptions(latency=NO_LATENCY, faults=faults), clock=self.clock)
        self._transport = transport or httpx2.ASGITransport(app=app)
        self.model = ClaudeModel(
            self._sdk, self.limiter.acquire_for, self.admission, self.limiter.retry_policy, lambda: 0.5
        )

    def _sdk(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            api_key="a-fake-key",
            base_url="http://simulator",
            max_retries=0,
            open_telemetry=False,
            http_client=httpx2.AsyncClient(transport=self._transport),
        )


def raising_transport(error: Exception) -> httpx2.MockTransport:
    """A transport on which every request raises this error."""

    async def fail(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)
        raise error

    return httpx2.MockTransport(fail)
