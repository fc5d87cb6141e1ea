"""A client of the simulator in the same event loop, on virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from claude_simulator import NO_LATENCY, SimulatorOptions, create_app
from support.asgi_client import Answer, call
from support.virtual_time import VirtualClock

HEADERS = {"x-api-key": "any-key", "anthropic-version": "2026-10-21"}


class SimulatorAnswer(Answer):
    """A response of the simulator."""

    def error(self) -> tuple[int, str, str]:
        error = self.json()["error"]
        return self.status, error["type"], error["message"]

    def event_names(self) -> list[str]:
        return [name for name, _ in self.events()]


class SimulatorClient:
    """Sends requests. `sent` has the chunks of the last response body, with the second at which each was sent."""

    def __init__(self, options: SimulatorOptions, clock: VirtualClock) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self._clock = clock
        self._app = create_app(options, clock=clock)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        leave_after_seconds: float | None = None,
    ) -> SimulatorAnswer:
        """Send a request and wait for the response, or disconnect after some seconds. Empty headers are not sent."""
        self.sent = []
        given = {name: value for name, value in {**HEADERS, **(headers or {})}.items() if value}
        leaves = asyncio.Event()
        if leave_after_seconds is not None:
            asyncio.get_running_loop().call_later(leave_after_seconds, leaves.set)
        answer = SimulatorAnswer()
        await call(self._timed, method, path, body=body, headers=given, leaves=leaves, answer=answer)
        return answer

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "http.response.body":
                self.sent.append((self._clock.elapsed_s, message["body"]))
            await send(message)

        await self._app(scope, receive, note)

    async def ask(self, **changes: Any) -> SimulatorAnswer:
        """Send a Messages request. `changes` are for its body, except `headers` and `leave_after_seconds`."""
        sent = {name: changes.pop(name) for name in ("headers", "leave_after_seconds") if name in changes}
        hello = [{"role": "user", "content": "Hello"}]
        body = {"model": "claude-sonnet-4-5", "max_tokens": 1_000, "messages": hello, **changes}
        return await self.send("POST", "/v1/messages", body, **sent)

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.send("GET", "/simulator/state")).json()
        return state


MakeClient = Callable[..., SimulatorClient]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def make_client(clock: VirtualClock) -> MakeClient:
    """A factory of clients, each of a simulator without latency."""

    def make(**options: Any) -> SimulatorClient:
        return SimulatorClient(SimulatorOptions(**{"latency": NO_LATENCY, **options}), clock)

    return make
