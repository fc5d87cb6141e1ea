"""Handlers of `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

import json
from dataclasses import replace
from typing import Any, Final

from claude_simulator.answers.answers import compose_answer
from claude_simulator.answers.message_format import MessageMetadata
from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.header_names import API_VERSION, BETA
from claude_simulator.http.asgi import ReceivedRequest, Response, error_response, until_disconnect
from claude_simulator.http.generation import Generation
from claude_simulator.http.routing import Exchange
from claude_simulator.http.state import SimulatorState
from claude_simulator.limits.headers import no_fast_limit_headers
from claude_simulator.limits.pool_limits import input_tokens_estimate
from claude_simulator.limits.rejections import no_fast_mode_error
from claude_simulator.requests.prompt import check_context, prompt_blocks
from claude_simulator.requests.prompt_validation import message_blocks
from claude_simulator.requests.validation import MessagesRequest, check_count_tokens, check_messages, parse_json
from claude_simulator.scenarios.faults import Fault, FaultKind, error_of, fault_kind
from claude_simulator.scenarios.scenario import HeadersAt

FAULT_HEADER: Final = "x-simulator-fault"
"""Forces a fault on one request, by its kind."""

OUTPUT_TOKENS_HEADER: Final = "x-simulator-output-tokens"
"""Sets the length of the answer's text in tokens, up to `max_tokens`."""

_FAST_MODE_SPEEDUP: Final = 2.5
"""The maximum in Claude Platform Docs "Fast mode"."""

_PAGE: Final = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
_OF_PROXIES: Final = {
    kind: Response(status, _PAGE.format(f"{status} {reason}").encode(), content_type="text/html")
    for kind, status, reason in (
        (FaultKind.BAD_GATEWAY, 502, "Bad Gateway"),
        (FaultKind.ORIGIN_ERROR, 520, "Web server is returning an unknown error"),
    )
}
"""Responses of proxies in front of the API."""


async def answer_count_tokens(exchange: Exchange) -> Response:
    """Counts tokens, under a separate limit of requests.

    Raises:
        ApiError: the request is invalid (400), or its model is unknown (404).
    """
    state, received = exchange.state, await exchange.read()
    body = parse_json(received.body)
    model = check_count_tokens(body, version=received.headers[API_VERSION], beta=BETA in received.headers)
    pool = state.pools["count_tokens"]
    try:
        pool.finish(state.admit(pool, 0, model=model), state.now_seconds())
    except ApiError as error:
        return error_response(error, received.request_id, state.limit_headers(pool))
    tokens = sum(block.tokens for block in prompt_blocks(body, model))
    return Response(200, json.dumps({"input_tokens": tokens}).encode(), state.limit_headers(pool))


async def answer_messages(exchange: Exchange) -> Response | None:
    """Handles a Messages request. A stream is sent here; any other response is returned.

    If the client disconnects, the work ends at once, what was produced stays charged, and None is returned.

    Raises:
        ApiError: the request is invalid (400), or its model is unknown (404).
    """
    state, received = exchange.state, await exchange.read()
    body = parse_json(received.body)
    betas = received.headers.get(BETA)
    request = check_messages(body, version=received.headers[API_VERSION], beta=betas is not None, betas=betas or "")
    fault = _fault(state, received)
    if fault is not None and fault.kind in _OF_PROXIES:
        return _OF_PROXIES[fault.kind]
    _check_files(body, state)
    blocks = prompt_blocks(body, request.model)
    check_context(blocks, request.model)
    answer = compose_answer(
        request, fault=fault.kind if fault else None, output_tokens=_output_tokens(received, request.max_tokens)
    )
    model = request.model
    if model.is_fast and model.family not in state.pools:
        return error_response(no_fast_mode_error(model), received.request_id, no_fast_limit_headers())
    pool = state.pools[model.family]
    try:
        _raise_error_of(fault, request, state)
        plan = state.cache.plan(request.model, blocks, state.now_seconds())
        estimate = input_tokens_estimate(plan.use.charged, request.model.characters_per_token)
        charge = state.admit(pool, estimate, model=request.model)
    except ApiError as error:
        return error_response(error, received.request_id, state.limit_headers(pool, fast=model.is_fast))
    speed = None if request.speed is None else "fast" if model.is_fast else "standard"
    metadata = MessageMetadata(state.new_id("msg"), model.id, plan.use, speed)
    at_admission = state.scenario.headers.at is HeadersAt.ADMISSION
    headers = state.limit_headers(pool, fast=model.is_fast) if at_admission else None
    latency = state.draw_latency()
    if model.is_fast:
        latency = replace(latency, per_token_seconds=latency.per_token_seconds / _FAST_MODE_SPEEDUP)
    generation = Generation(state, pool, charge, plan, metadata, answer, fault, latency, headers)
    try:
        if request.stream:
            stream = generation.stream(exchange.send, exchange.common, exchange.request_id)
            return await until_disconnect(exchange.receive, stream)
        return await until_disconnect(exchange.receive, generation.whole())
    finally:
        pool.finish(charge, state.now_seconds())


def forced_response(state: SimulatorState, headers: dict[str, str], request_id: str) -> Response | None:
    """The error that `FAULT_HEADER` forces on any other route; None without the header.

    Raises:
        ApiError: 400, the kind of fault is unknown.
    """
    fault = _forced_fault(headers)
    if fault is None:
        return None
    if fault.kind in _OF_PROXIES:
        return _OF_PROXIES[fault.kind]
    error = error_of(fault, unix_seconds=state.clock.wall_seconds())
    return None if error is None else error_response(error, request_id)


def _raise_error_of(fault: Fault | None, request: MessagesRequest, state: SimulatorState) -> None:
    """Raises the error of the fault, unless it is to be sent within a stream."""
    if fault is None or (fault.kind is FaultKind.STREAM_ERROR and request.stream):
        return
    error = error_of(fault, unix_seconds=state.clock.wall_seconds())
    if error is not None:
        raise error


def _check_files(body: dict[str, Any], state: SimulatorState) -> None:
    """Checks that the files that a message refers to exist; raises `ApiError` 404."""
    for _, block in message_blocks(body):
        parts = block["content"] if isinstance(block.get("content"), list) else []
        for part in (block, *parts):
            holder = part["source"] if part["type"] in {"image", "document"} else part
            if holder.get("type") in {"file", "container_upload"}:
                state.files.find(str(holder.get("file_id")))


def _fault(state: SimulatorState, received: ReceivedRequest) -> Fault | None:
    return _forced_fault(received.headers) or state.faults.next_fault(state.now_seconds())


def _forced_fault(headers: dict[str, str]) -> Fault | None:
    forced = headers.get(FAULT_HEADER)
    if forced is None:
        return None
    try:
        return Fault(kind=fault_kind(forced))
    except ValueError as error:
        raise invalid_request(f"{FAULT_HEADER}: {error}") from None


def _output_tokens(received: ReceivedRequest, max_tokens: int) -> int | None:
    given = received.headers.get(OUTPUT_TOKENS_HEADER)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) > 0):
        raise invalid_request(f"{OUTPUT_TOKENS_HEADER}: {given[:40]!r} was given; a whole number from 1 is allowed")
    return min(int(given), max_tokens)
