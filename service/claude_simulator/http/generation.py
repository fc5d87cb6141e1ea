"""Produces the response to an admitted Messages request, in time and with faults."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_simulator.answers.answers import Answer
from claude_simulator.answers.cache import CachePlan
from claude_simulator.answers.implausible_usage import claim_impossible_tokens
from claude_simulator.answers.message_format import (
    MessageMetadata,
    StreamEvent,
    encode_event,
    encode_json,
    message_events,
    message_json,
)
from claude_simulator.answers.unknown_content import add_unknown_content, add_unknown_events
from claude_simulator.http.asgi import Response, send_head
from claude_simulator.http.state import SimulatorState
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.scenarios.faults import Fault, FaultKind, error_of
from claude_simulator.scenarios.latency import Latency

if TYPE_CHECKING:
    from starlette.types import Send


@dataclass(frozen=True, slots=True)
class Generation:
    """One admitted request while its response is produced."""

    state: SimulatorState
    pool: Pool
    charge: Charge
    plan: CachePlan
    metadata: MessageMetadata
    answer: Answer
    fault: Fault | None
    latency: Latency
    headers_of_admission: dict[str, str] | None

    async def whole(self) -> Response:
        """Produces the answer and returns it as a JSON message."""
        await self._begin()
        for event in message_events(self.metadata, self.answer):
            await self._produce(event)
        message = message_json(self.metadata, self.answer)
        if self._is(FaultKind.IMPLAUSIBLE_USAGE):
            message = claim_impossible_tokens(message)
        body = encode_json(add_unknown_content(message) if self._is(FaultKind.UNKNOWN_CONTENT) else message)
        cut = len(body) // 2 if self._is(FaultKind.CUT) else None
        return Response(200, body, self._limit_headers(), cut_after_bytes=cut)

    async def stream(self, send: "Send", common_headers: dict[str, str], request_id: str) -> None:
        """Sends the answer as server-sent events while it is produced."""
        await self._begin()
        self.state.responses_by_status[200] += 1
        headers = {**common_headers, **self._limit_headers(), "cache-control": "no-cache"}
        await send_head(send, 200, "text/event-stream; charset=utf-8", headers)
        deltas = 0
        events = message_events(self.metadata, self.answer)
        for event in add_unknown_events(events) if self._is(FaultKind.UNKNOWN_CONTENT) else events:
            if self._breaks_at(event, deltas):
                await self._break_off(send, request_id)
                return
            await self._produce(event)
            if event.data["type"] == "message_delta" and self._is(FaultKind.IMPLAUSIBLE_USAGE):
                event = StreamEvent(claim_impossible_tokens(event.data), event.output_tokens)  # noqa: PLW2901
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            deltas += event.data["type"] == "content_block_delta"
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _break_off(self, send: "Send", request_id: str) -> None:
        """Ends the stream with the error event of the fault. A cut has none: the server then closes the connection."""
        error = None if self.fault is None else error_of(self.fault, unix_seconds=self.state.clock.wall_seconds())
        if error is not None:
            body = encode_event("error", error.body(request_id))
            await send({"type": "http.response.body", "body": body, "more_body": False})

    def _breaks_at(self, event: StreamEvent, deltas: int) -> bool:
        """Whether the fault occurs before this event: after enough deltas, at the latest after the content."""
        if self.fault is None or self.fault.kind not in (FaultKind.CUT, FaultKind.STREAM_ERROR):
            return False
        return deltas >= self.fault.after_events or event.data["type"] == "message_delta"

    async def _begin(self) -> None:
        """Waits for the first token, corrects the estimated input, and writes the prompt to the cache."""
        if self.fault is not None and self._is(FaultKind.SLOW_START):
            await self.state.wait(self.fault.delay_seconds)
        await self.state.wait(self.latency.first_token_seconds)
        now_seconds = self.state.advance()
        self.pool.correct_input(self.charge, self.plan.use.charged, now_seconds)
        self.state.cache.store(self.plan, now_seconds)

    async def _produce(self, event: StreamEvent) -> None:
        if self.fault is not None and self._is(FaultKind.SLOW_STREAM):
            await self.state.wait(self.fault.delay_seconds)
        await self.state.wait(self.latency.per_token_seconds * event.output_tokens)
        self.pool.produce(self.charge, event.output_tokens, self.state.advance())

    def _limit_headers(self) -> dict[str, str]:
        if self.headers_of_admission is not None:
            return self.headers_of_admission
        return self.state.limit_headers(self.pool, fast=self.metadata.speed == "fast")

    def _is(self, kind: FaultKind) -> bool:
        return self.fault is not None and self.fault.kind is kind
