"""Tidegate: one replica with the store, admission and attempts of the gateway, without HTTP."""

from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Final, Protocol

from benchmarks.goodput.connection import Rejection, Stream, UpstreamConnection
from benchmarks.goodput.records import Job, PredictedWait
from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.errors import Refusal, UpstreamError
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer, Scope
from tidegate.core.ports.store import Store
from tidegate.core.ports.transport import Fields, Headers, TransportRequest
from tidegate.core.pricing.message_shape import MessageShape, Prefix
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.engine.admission import Admission, Lease
from tidegate.engine.waiting import Waiting
from tidegate.gateway.attempt.attempts import Attempts
from tidegate.gateway.attempt.relay_context import RelayContext
from tidegate.gateway.call import Call
from tidegate.gateway.receive.prepared_call import PreparedCall
from tidegate.gateway.receive.request import MESSAGES_ROUTE
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.gateway.upstream_key import UpstreamKey

__all__ = ["LocalStore", "TidegateClient"]

_JSON: Final = ((b"content-type", b"application/json"),)
_PART_TOKENS: Final = 300
_DELTA: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":"%b"}}\n\n'
)
_EVENT_STREAM: Final = (b"content-type", b"text/event-stream")


class LocalStore(Store, Protocol):
    """A store that knows the last state of its pools without a round trip."""

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `Store.snapshot`."""
        ...


class TidegateClient:
    """Calls like the gateway.

    Args:
        replica: The name of this process, if the store knows it by one.

    Attributes:
        store: The pools, for a trace.
    """

    def __init__(
        self,
        connection: UpstreamConnection,
        rng: Random,
        clock: Clock,
        store: LocalStore,
        observer: Observer | None = None,
        waits: list[PredictedWait] | None = None,
        replica: str | None = None,
    ) -> None:
        self._pool = model_pool(connection.model)
        self._clock = clock
        self._jobs: dict[bytes, Job] = {}
        self.store = store
        admission = _RecordingAdmission(store, clock, observer, connection, [] if waits is None else waits)
        if replica is not None:
            admission.replica = replica
        transport = _Transport(connection, self._jobs)
        self._context = RelayContext(admission, transport, RetryPolicy, rng.random, RelayLimits(), UpstreamKey("any"))

    async def call(self, job: Job) -> bool:
        target = b"%d" % job.number
        now_ns = self._clock.monotonic_ns()
        deadline_ns = now_ns + to_ns(job.patience_seconds)
        call = Call(str(job.number), MESSAGES_ROUTE, {}, now_ns, deadline_ns, job.caller, pool=self._pool)
        shape = job.shape
        prefix_bytes = round(shape.prefix_tokens * shape.characters_per_token)
        prefixes = (Prefix(hash(shape.prefix), prefix_bytes, PromptSize(), marked=True),) if shape.prefix else ()
        size = PromptSize(shape.characters)
        message = MessageShape(job.caller.name, shape.model, size, job.max_tokens, prefixes)
        request = TransportRequest(b"POST", target, (), replayable=True)
        prepared = PreparedCall(request, self._pool, message, model=shape.model)
        attempts = Attempts(self._context, call, prepared)
        self._jobs[target] = job
        outcome = Outcome.ABANDONED
        try:
            response = await attempts.response()
            try:
                monotonic_ns = self._context.admission.clock.monotonic_ns
                while await response.start.next_chunk() is not None:
                    if response.accounting_is_due(monotonic_ns()):
                        await response.account(monotonic_ns())
                outcome = Outcome.SETTLED
            finally:
                await response.settle(outcome, succeeded=outcome is Outcome.SETTLED)
        except (Refusal, UpstreamError):
            return False
        finally:
            del self._jobs[target]
        return True

    async def aclose(self) -> None:
        """There is no background work."""


class _RecordingAdmission(Admission):
    """Records predicted waits, except those of retries, which go to the front of the queue."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observer: Observer | None,
        connection: UpstreamConnection,
        waits: list[PredictedWait],
    ) -> None:
        super().__init__(store, clock, observer)
        self._connection = connection
        self._waits = waits

    async def acquire(
        self, demand: Demand, on_wait: Callable[[Waiting], None] | None = None, scope: Scope | None = None
    ) -> Lease:
        waits: list[Waiting] = []

        def note(waiting: Waiting) -> None:
            waits.append(waiting)
            if on_wait is not None:
                on_wait(waiting)

        lease = await super().acquire(demand, note, scope)
        if waits and not (demand.front or demand.retry):
            waited_seconds = to_seconds(lease.waited_ns)
            since_seconds = self._connection.now_seconds() - waited_seconds
            self._waits.append(PredictedWait(since_seconds, waits[0].predicted_seconds, waited_seconds))
        return lease


class _Transport:
    """Implements `Transport`; the target of a request names the job."""

    def __init__(self, connection: UpstreamConnection, jobs: Mapping[bytes, Job]) -> None:
        self._connection = connection
        self._jobs = jobs

    async def send(
        self, request: TransportRequest, on_begin: Callable[[], None] | None = None
    ) -> "_Rejected | _Streamed":
        if on_begin is not None:
            on_begin()
        try:
            return _Streamed(await self._connection.send(self._jobs[request.target]))
        except Rejection as rejection:
            return _Rejected(rejection)

    async def aclose(self) -> None:
        """Nothing to close."""


class _Rejected:
    at_end = False
    waited_ns = 0

    def __init__(self, rejection: Rejection) -> None:
        self.status = rejection.status
        self.headers: Headers = (*_JSON, *_fields(rejection.headers))
        self.fields: Fields = dict(self.headers)
        kind = "rate_limit_error" if rejection.status == 429 else "overloaded_error"
        details = f',"details":{{"error_code":"{rejection.error_code}"}}' if rejection.error_code else ""
        self._body = f'{{"type":"error","error":{{"type":"{kind}","message":"simulated"{details}}}}}'.encode()

    def whole(self) -> None:
        """None: the body is streamed."""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def aclose(self) -> None:
        """Nothing to close."""


class _Streamed:
    status = 200
    at_end = False
    waited_ns = 0

    def __init__(self, stream: Stream) -> None:
        self.headers: Headers = (_EVENT_STREAM, *_fields(stream.headers))
        self.fields: Fields = dict(self.headers)
        self._stream = stream

    def whole(self) -> None:
        """None: the body is streamed."""

    async def chunks(self) -> AsyncIterator[bytes]:
        said = self._stream.input_usage
        yield (
            b'event: message_start\ndata: {"message":{"usage":{"input_tokens":%d,"cache_read_input_tokens":%d,'
            b'"cache_creation_input_tokens":%d,"output_tokens":1}}}\n\n'
            b"event: content_block_start\ndata: {}\n\n" % said
        )
        tokens = 0
        while await self._stream.produce(tokens + _PART_TOKENS):
            tokens += _PART_TOKENS
            yield _DELTA % (b"four" * _PART_TOKENS)
        output_tokens = await self._stream.finish()
        yield _DELTA % (b"four" * (output_tokens - tokens))
        yield b'event: message_delta\ndata: {"usage":{"output_tokens":%d}}\n\n' % output_tokens

    async def aclose(self) -> None:
        """End the stream, if it is still being produced."""
        self._stream.close()


def _fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
