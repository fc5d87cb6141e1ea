"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from claude_simulator.answers.answers import Answer, compose_answer
from claude_simulator.answers.cache import CachePlan
from claude_simulator.answers.sse import (
    MessageShell,
    StreamEvent,
    encode_event,
    encode_json,
    message_events,
    message_json,
)
from claude_simulator.answers.unknown_content import add_unknown_content, add_unknown_events
from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_VERSION, BETA
from claude_simulator.http.asgi import Call, Reply, error_reply, send_head, until_disconnect
from claude_simulator.limits.denial_errors import no_fast_mode_error
from claude_simulator.limits.headers import no_fast_limit_headers
from claude_simulator.limits.limits import input_tokens_estimate
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.requests.prompt import check_context, prompt_blocks
from claude_simulator.requests.prompt_validation import message_blocks
from claude_simulator.requests.validation import MessagesRequest, check_count_tokens, check_messages, parse_json
from claude_simulator.scenarios.faults import Fault, FaultKind, error_of, fault_kind
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import HeadersAt
from claude_simulator.world import World

if TYPE_CHECKING:
    from starlette.types import Receive, Send

FAULT_HEADER: Final = "x-simulator-fault"
"""Forces a fault, named by its kind, on the request that carries it."""

OUTPUT_TOKENS_HEADER: Final = "x-simulator-output-tokens"
"""Sets the length of the answer's text in tokens; `max_tokens` still ends it."""

_FAST_TIMES: Final = 2.5
"""How many times as fast output comes in fast mode, at most ("Fast mode")."""

_BAD_GATEWAY: Final = Reply(
    502,
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n",
    content_type="text/html",
)


def answer_count_tokens(world: World, call: Call) -> Reply:
    """Answer a token count, under its own limit of requests.

    Raises:
        ApiError: The request is invalid (400) or names no model that is served (404).
    """
    body = parse_json(call.body)
    model = check_count_tokens(body, version=call.headers[API_VERSION], beta=BETA in call.headers)
    pool = world.pools["count_tokens"]
    try:
        pool.finish(world.admit(pool, 0, model=model), world.now_seconds())
    except ApiError as error:
        return error_reply(error, call.request_id, world.limit_headers(pool))
    tokens = sum(block.tokens for block in prompt_blocks(body, model))
    return Reply(200, json.dumps({"input_tokens": tokens}).encode(), world.limit_headers(pool))


async def answer_messages(
    world: World, call: Call, receive: "Receive", send: "Send", common_headers: dict[str, str]
) -> Reply | None:
    """Answer a Messages request. A stream is sent here, under `common_headers`; any other answer is returned.

    When the client leaves, the work ends at once, what was produced until then stays charged, and nothing is returned.

    Raises:
        ApiError: The request is invalid (400) or names no model that is served (404).
    """
    body = parse_json(call.body)
    betas = call.headers.get(BETA)
    request = check_messages(body, version=call.headers[API_VERSION], beta=betas is not None, betas=betas or "")
    fault = _fault(world, call)
    if fault is not None and fault.kind is FaultKind.BAD_GATEWAY:
        return _BAD_GATEWAY
    _check_files(body, world)
    blocks = prompt_blocks(body, request.model)
    check_context(blocks, request.model)
    answer = compose_answer(
        request, fault=fault.kind if fault else None, output_tokens=_output_tokens(call, request.max_tokens)
    )
    model = request.model
    if model.is_fast and model.family not in world.pools:
        return error_reply(no_fast_mode_error(model), call.request_id, no_fast_limit_headers())
    pool = world.pools[model.family]
    try:
        _raise_error_of(fault, request, world)
        plan = world.cache.plan(request.model, blocks, world.now_seconds())
        estimate = input_tokens_estimate(plan.use.charged, request.model.characters_per_token)
        charge = world.admit(pool, estimate, model=request.model)
    except ApiError as error:
        return error_reply(error, call.request_id, world.limit_headers(pool, fast=model.is_fast))
    speed = None if request.speed is None else "fast" if model.is_fast else "standard"
    shell = MessageShell(world.new_id("msg"), model.id, plan.use, speed)
    at_admission = world.scenario.headers.at is HeadersAt.ADMISSION
    headers = world.limit_headers(pool, fast=model.is_fast) if at_admission else None
    latency = world.draw_latency()
    if model.is_fast:
        latency = replace(latency, per_token_seconds=latency.per_token_seconds / _FAST_TIMES)
    exchange = _Exchange(world, pool, charge, plan, shell, answer, fault, latency, headers)
    try:
        if request.stream:
            return await until_disconnect(receive, exchange.stream(send, common_headers, call.request_id))
        return await until_disconnect(receive, exchange.whole())
    finally:
        pool.finish(charge, world.now_seconds())


def forced_reply(world: World, headers: dict[str, str], request_id: str) -> Reply | None:
    """The error that a request to any other route forces by `FAULT_HEADER`; None when it forces none.

    Raises:
        ApiError: 400, there is no such kind of fault.
    """
    fault = _forced_fault(headers)
    if fault is None:
        return None
    if fault.kind is FaultKind.BAD_GATEWAY:
        return _BAD_GATEWAY
    error = error_of(fault, unix_seconds=world.clock.wall_seconds())
    return None if error is None else error_reply(error, request_id)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """An admitted request while it is answered."""

    world: World
    pool: Pool
    charge: Charge
    plan: CachePlan
    shell: MessageShell
    answer: Answer
    fault: Fault | None
    latency: Latency
    headers_of_admission: dict[str, str] | None

    async def whole(self) -> Reply:
        """Produce the answer and return it as one message."""
        await self._begin()
        for event in message_events(self.shell, self.answer):
            await self._produce(event)
        message = message_json(self.shell, self.answer)
        body = encode_json(add_unknown_content(message) if self._is(FaultKind.UNKNOWN_CONTENT) else message)
        cut = len(body) // 2 if self._is(FaultKind.CUT) else None
        return Reply(200, body, self._limit_headers(), cut_after_bytes=cut)

    async def stream(self, send: "Send", common_headers: dict[str, str], request_id: str) -> None:
        """Produce the answer and send it as server-sent events while it comes to be."""
        await self._begin()
        self.world.answers_by_status[200] += 1
        headers = {**common_headers, **self._limit_headers(), "cache-control": "no-cache"}
        await send_head(send, 200, "text/event-stream; charset=utf-8", headers)
        deltas = 0
        events = message_events(self.shell, self.answer)
        for event in add_unknown_events(events) if self._is(FaultKind.UNKNOWN_CONTENT) else events:
            if self._breaks_at(event, deltas):
                await self._break_off(send, request_id)
                return
            await self._produce(event)
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            deltas += event.data["type"] == "content_block_delta"
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _break_off(self, send: "Send", request_id: str) -> None:
        """End the stream with the fault's error event; a cut has none, and forces the server to close."""
        error = None if self.fault is None else error_of(self.fault, unix_seconds=self.world.clock.wall_seconds())
        if error is not None:
            body = encode_event("error", error.body(request_id))
            await send({"type": "http.response.body", "body": body, "more_body": False})

    def _breaks_at(self, event: StreamEvent, deltas: int) -> bool:
        """Whether the fault strikes before this event: after enough deltas, at the latest when the content is over."""
        if self.fault is None or self.fault.kind not in (FaultKind.CUT, FaultKind.STREAM_ERROR):
            return False
        return deltas >= self.fault.after_events or event.data["type"] == "message_delta"

    async def _begin(self) -> None:
        """Read the prompt: wait for the first token, correct the estimate, and leave the prefix in the cache."""
        if self.fault is not None and self._is(FaultKind.SLOW_START):
            await self.world.wait(self.fault.delay_seconds)
        await self.world.wait(self.latency.first_token_seconds)
        now_seconds = self.world.advance()
        self.pool.correct_input(self.charge, self.plan.use.charged, now_seconds)
        self.world.cache.store(self.plan, now_seconds)

    async def _produce(self, event: StreamEvent) -> None:
        if self.fault is not None and self._is(FaultKind.SLOW_STREAM):
            await self.world.wait(self.fault.delay_seconds)
        await self.world.wait(self.latency.per_token_seconds * event.output_tokens)
        self.pool.produce(self.charge, event.output_tokens, self.world.advance())

    def _limit_headers(self) -> dict[str, str]:
        if self.headers_of_admission is not None:
            return self.headers_of_admission
        return self.world.limit_headers(self.pool, fast=self.shell.speed == "fast")

    def _is(self, kind: FaultKind) -> bool:
        return self.fault is not None and self.fault.kind is kind


def _raise_error_of(fault: Fault | None, request: MessagesRequest, world: World) -> None:
    """Answer with the fault's error, unless the error belongs into the stream that was asked for."""
    if fault is None or (fault.kind is FaultKind.STREAM_ERROR and request.stream):
        return
    error = error_of(fault, unix_seconds=world.clock.wall_seconds())
    if error is not None:
        raise error


def _check_files(body: dict[str, Any], world: World) -> None:
    """Refuse what refers to a file that was never uploaded, or is deleted; raises `ApiError` 404."""
    for _, block in message_blocks(body):
        parts = block["content"] if isinstance(block.get("content"), list) else []
        for part in (block, *parts):
            holder = part["source"] if part["type"] in {"image", "document"} else part
            if holder.get("type") in {"file", "container_upload"}:
                world.files.find(str(holder.get("file_id")))


def _fault(world: World, call: Call) -> Fault | None:
    return _forced_fault(call.headers) or world.faults.next_fault(world.now_seconds())


def _forced_fault(headers: dict[str, str]) -> Fault | None:
    forced = headers.get(FAULT_HEADER)
    if forced is None:
        return None
    try:
        return Fault(kind=fault_kind(forced))
    except ValueError as error:
        raise invalid_request(f"{FAULT_HEADER}: {error}") from None


def _output_tokens(call: Call, max_tokens: int) -> int | None:
    given = call.headers.get(OUTPUT_TOKENS_HEADER)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) > 0):
        raise invalid_request(f"{OUTPUT_TOKENS_HEADER}: {given[:40]!r} was given; a whole number from 1 is allowed")
    return min(int(given), max_tokens)
