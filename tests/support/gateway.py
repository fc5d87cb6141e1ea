"""A gateway with a real limiter, and a transport with canned responses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, get_args

from msgspec import structs

from support.asgi_client import Answer, call
from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.core.domain.events import AttemptFinished, Event, LeaseEnded, RequestFinished
from tidegate.core.domain.feedback import Feedback, RateLimited, Succeeded
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer
from tidegate.core.ports.transport import Fields, Headers, Transport, TransportRequest
from tidegate.engine.admission import Admission
from tidegate.gateway.app import Gateway
from tidegate.identity.identify import Identifier
from tidegate.observe.observers import Observers
from tidegate.observe.tracing.span_observer import Tracing
from tidegate.stores.memory import MemoryStore

MESSAGE = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
ANSWER = b'{"type": "message", "usage": {"input_tokens": 7, "output_tokens": 3}}'
ONE_A_MINUTE = PoolSettings({Dimension.REQUESTS: LimitSettings(1, 1)})
"""Whoever comes second waits for a minute."""
MESSAGE_START = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}\n\n'
CONTENT = b'event: content_block_delta\ndata: {"delta": {"type": "text_delta", "text": "hi"}}\n\n'
MESSAGE_DELTA = b'event: message_delta\ndata: {"usage": {"output_tokens": 30}}\n\n'
OVERLOADED_EVENT = b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'


@dataclass
class Reply:
    """A response to give. Among the chunks, a number is a wait in seconds, and an exception breaks it off."""

    status: int = 200
    headers: Headers = ((b"content-type", b"application/json"),)
    chunks: Sequence[bytes | float | Exception] = (ANSWER,)
    closed: bool = False


def sse(*chunks: bytes | float | Exception) -> Reply:
    return Reply(200, ((b"content-type", b"text/event-stream; charset=utf-8"),), chunks)


def error(status: int, error_type: str, code: str | None = None, **headers: str) -> Reply:
    details = f', "details": {{"error_code": "{code}"}}' if code else ""
    body = f'{{"type": "error", "error": {{"type": "{error_type}", "message": "told"{details}}}}}'.encode()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Reply(status, ((b"content-type", b"application/json"), *fields), (body,))


def unreachable(*, may_have_been_accepted: bool = False) -> UpstreamUnreachable:
    return UpstreamUnreachable("no response from the upstream: told", may_have_been_accepted=may_have_been_accepted)


class _Response:
    """A body of one chunk arrives together with its head, as usual."""

    def __init__(self, told: Reply, head_after_seconds: float) -> None:
        self.at_end = False
        self.waited_ns = to_ns(head_after_seconds)
        self.status = told.status
        self.headers = told.headers
        self.fields: Fields = dict(told.headers)
        self._told = told

    def whole(self) -> bytes | None:
        if self.at_end or len(self._told.chunks) != 1 or not isinstance(self._told.chunks[0], bytes):
            return None
        self.at_end = self._told.closed = True
        return self._told.chunks[0]

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in () if self.at_end else self._told.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, bytes):
                yield chunk
            else:
                await asyncio.sleep(chunk)

    async def aclose(self) -> None:
        self._told.closed = True


class FakeTransport:
    """Gives the responses in turn, and the last one forever. An exception is raised in place of a response."""

    def __init__(
        self,
        answers: Sequence[Reply | Exception],
        *,
        head_after_seconds: float = 0.0,
        connected_after_seconds: float = 0.0,
    ) -> None:
        self.answers = list(answers)
        self.head_after_seconds = head_after_seconds
        self.connected_after_seconds = connected_after_seconds
        self.requests: list[tuple[TransportRequest, bytes]] = []

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> _Response:
        await asyncio.sleep(self.connected_after_seconds)
        if on_begin is not None:
            on_begin()
        body = request.body
        whole = body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])
        self.requests.append((request, whole))
        await asyncio.sleep(self.head_after_seconds)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return _Response(answer, self.head_after_seconds)

    async def aclose(self) -> None:
        self.answers.clear()


class SimulatorTransport(FakeTransport):
    """Sends requests to a simulator in the same event loop."""

    def __init__(self, simulator: Any) -> None:
        super().__init__([])
        self._simulator = simulator

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> _Response:
        if on_begin is not None:
            on_begin()
        body = request.body if isinstance(request.body, bytes) else b"".join([chunk async for chunk in request.body])
        self.requests.append((request, body))
        headers = {name.decode(): value.decode() for name, value in request.headers}
        method, path = request.method.decode(), request.target.decode()
        answer = await call(self._simulator, method, path, body=body, headers=headers)
        fields = tuple((name.encode(), value.encode()) for name, value in answer.headers.items())
        return _Response(Reply(answer.status, fields, (answer.body,)), 0.0)


def record_feedback(store: MemoryStore) -> list[Feedback]:
    """Records the feedback that pools get from now on, without the ids of leases."""
    heard: list[Feedback] = []
    learn, end = store.learn, store.end

    def note(feedback: Feedback) -> None:
        if isinstance(feedback, LimitReport | RateLimited | Succeeded):
            feedback = structs.replace(feedback, lease_id="")
        heard.append(feedback)

    async def learn_and_note(pool: str, feedback: Feedback) -> None:
        note(feedback)
        await learn(pool, feedback)

    async def end_and_note(
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        for each in feedback:
            note(each)
        return await end(pool, lease_id, outcome, used, feedback, spent)

    store.learn, store.end = learn_and_note, end_and_note  # type: ignore[method-assign]
    return heard


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that another task will fulfill; 5 s at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the code under test does not know who waits for it
            await asyncio.sleep(0.01)


@dataclass
class Rig:
    gateway: Gateway
    store: MemoryStore
    observer: RecordingObserver
    admission: Admission

    def in_flight(self) -> int:
        return sum(pool.in_flight for pool in self.store.snapshot_now())

    async def finished(self, calls: int = 1) -> None:
        """Waits until that many calls and all their leases have ended."""
        await until(lambda: len(self.observer.of(RequestFinished)) >= calls and not self.in_flight())

    def call_outcome(self) -> str:
        """The outcome of the one call."""
        (finished,) = self.observer.of(RequestFinished)
        return str(finished.outcome)

    def outcomes(self) -> list[str]:
        return [str(event.outcome) for event in self.observer.of(LeaseEnded)]

    def usages(self) -> list[Usage | None]:
        return [event.usage for event in self.observer.of(AttemptFinished)]


def make_gateway(
    transport: Transport,
    clock: Clock,
    *,
    pools: Mapping[str, PoolSettings] | None = None,
    policy: RetryPolicy | None = None,
    tracing: Tracing | None = None,
    listener: Callable[[Event], None] | None = None,
    **changes: Any,
) -> Rig:
    """A gateway without jitter, with numbered ids, and with an observer that records or traces everything."""
    store = MemoryStore(clock, pools)
    observer = RecordingObserver()
    numbers = count(1)
    settings: dict[str, Any] = {
        "identifier": Identifier(),
        "upstream_key": "service-key",
        "upstream_kind": "claude",
        "retry_policy": lambda: policy or RetryPolicy(base_delay_seconds=1.0, jitter_factor=0.0),
        "random": lambda: 0.5,
        "hop_id": "hop-a",
        "new_request_id": lambda: f"tg_{next(numbers)}",
    }
    admission = Admission(store, clock, _heard(observer, tracing, listener))
    return Rig(Gateway(admission, transport, **{**settings, **changes}), store, observer, admission)


def _heard(recorder: RecordingObserver, tracing: Tracing | None, listener: Callable[[Event], None] | None) -> Observer:
    if tracing is None and listener is None:
        return recorder
    listeners = [[(kind, hear) for kind in get_args(Event)] for hear in (recorder.event, listener) if hear is not None]
    return Observers(*listeners, tracing=tracing)


def post(answers: Sequence[Reply | Exception], **options: Any) -> tuple[Answer, Rig, FakeTransport, float]:
    """Makes one Messages call; returns the client's response, the rig, the transport, and the duration in seconds."""
    clock = VirtualClock()
    transport = FakeTransport(answers)
    headers = options.pop("headers", {})
    body = options.pop("body", MESSAGE)
    path = options.pop("path", "/v1/messages")
    rig = make_gateway(transport, clock, **options)
    answer = run_virtual(call(rig.gateway, "POST", path, body=body, headers=headers), clock)
    assert rig.in_flight() == 0
    return answer, rig, transport, clock.elapsed_s
