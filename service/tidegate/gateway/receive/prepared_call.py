"""Reads a client's request, and prepares what is sent upstream."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tidegate.core.claude.rate_limit_groups import endpoint_pool, fast_model, model_pool
from tidegate.core.ports.transport import Fields, Headers, TransportRequest
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.gateway.call import Call
from tidegate.gateway.deadlines import Deadline
from tidegate.gateway.receive.client_request import ClientRequest, too_large
from tidegate.gateway.receive.named_models import named_models, reads_models
from tidegate.gateway.receive.request import (
    COUNT_TOKENS_ROUTE,
    MESSAGES_ROUTE,
    InvalidCall,
    is_priced_later,
    max_body_bytes,
    read_message,
)
from tidegate.http.asgi import Message
from tidegate.identity.model_access import check_model

__all__ = ["PreparedCall", "is_lookup", "prepare_call"]

_READ_WHOLE: Final = frozenset({MESSAGES_ROUTE, COUNT_TOKENS_ROUTE})
_SAFE: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""
_CODING: Final = b"content-encoding"
_DROPPED: Final = TransportRequest(b"", b"", ())


class PreparedCall(Struct):
    """The request of a call to the upstream.

    Attributes:
        request: ready to send, until it is dropped.
        pool: the pool that it uses.
        shape: what its price depends on; None if it only counts as a request.
        streams: whether an event stream is requested.
        model: the model that it names; empty if it names none.
        names_objects: whether it may name objects that belong to a tenant.
        creates_objects: whether the response to a Messages call may name new objects.
        is_priced_later: as `request.is_priced_later`.
    """

    request: TransportRequest
    pool: str
    shape: MessageShape | None = None
    streams: bool = False
    model: str = ""
    names_objects: bool = True
    creates_objects: bool = False
    is_priced_later: bool = False

    @property
    def replayable(self) -> bool:
        """Whether the request may be sent again after a failure."""
        return self.request.replayable

    def drop_request(self) -> None:
        """Frees the request, which is not sent again. A stream need not keep its prompt in memory for minutes."""
        self.request = _DROPPED


def is_lookup(route: str, method: str) -> bool:
    """Whether a call changes nothing and asks no model a question: it reads something, or counts tokens."""
    return method in _SAFE or (route == COUNT_TOKENS_ROUTE and method == "POST")


async def prepare_call(
    scope: Message,
    client_request: ClientRequest,
    call: Call,
    headers: Headers,
    *,
    timeout_seconds: float,
    add_body_bytes: Callable[[int], None],
    finds_objects: bool = False,
) -> PreparedCall:
    """Reads a request, and prepares what is sent upstream and at which price.

    Bodies of Messages calls and token counts are read whole, so that they can be sent again. So is every body that may
    name a model, if the caller may use only some models. Other bodies are streamed.

    Args:
        scope: the ASGI scope.
        client_request: the client's request.
        call: the call.
        headers: header fields for the upstream.
        timeout_seconds: how long a body that is read whole may take to arrive.
        add_body_bytes: called with the number of bytes of such a body as they are read into memory.
        finds_objects: whether to find out if a Messages body names or creates objects.

    Raises:
        Refusal: raised by `add_body_bytes`; or FORBIDDEN, the caller may not use the model.
        InvalidCall: the body is too long, does not arrive in time, or is not JSON where it has to be.
        ClientDisconnected: the client left before the end of a body that is read whole.
    """
    method = scope["method"].encode()
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    max_bytes = max_body_bytes(call.route)
    length = _content_length(call.fields)
    if length is not None and length > max_bytes:
        raise too_large(max_bytes)

    if call.route in _READ_WHOLE and method == b"POST":
        _check_coding(scope["headers"], call.fields)
        body = await _read_whole(client_request, max_bytes, add_body_bytes, timeout_seconds)
        request = TransportRequest(method, target, headers, body, replayable=True)
        if call.route != MESSAGES_ROUTE:
            _check_models(call, body)
            names_objects = finds_objects and await _may_name_objects(body)
            pool = endpoint_pool(scope["method"], scope["path"])
            return PreparedCall(request, pool, names_objects=names_objects)
        message = await read_message(body, finds_objects=finds_objects)
        check_model(call.caller, message.model)
        model = fast_model(message.model) if message.is_fast else message.model
        return PreparedCall(
            request,
            model_pool(model),
            MessageShape(call.caller.name, model, message.size, message.max_tokens, message.prefixes),
            streams=message.stream,
            model=message.model,
            names_objects=message.names_objects,
            creates_objects=message.creates_objects,
        )
    if not length and b"transfer-encoding" not in call.fields:
        client_request.watch()
        replayable = is_lookup(call.route, scope["method"])
        request = TransportRequest(method, target, headers, replayable=replayable)
        return PreparedCall(request, endpoint_pool(scope["method"], scope["path"]))
    if finds_objects:
        _check_coding(scope["headers"], call.fields)
    if call.caller.models and reads_models(call.route, call.fields):
        body = await _read_whole(client_request, max_body_bytes(MESSAGES_ROUTE), add_body_bytes, timeout_seconds)
        _check_models(call, body)
        request = TransportRequest(method, target, headers, body)
    else:
        request = TransportRequest(method, target, headers, client_request.chunks(max_bytes), length)
    is_later = is_priced_later(scope["method"], scope["path"])
    return PreparedCall(request, endpoint_pool(scope["method"], scope["path"]), is_priced_later=is_later)


async def _read_whole(
    client_request: ClientRequest, max_bytes: int, add_body_bytes: Callable[[int], None], timeout_seconds: float
) -> bytes:
    body = client_request.whole(max_bytes, add_body_bytes)
    if body is not None:
        return body
    try:
        with Deadline(timeout_seconds):
            return await client_request.read(max_bytes, add_body_bytes)
    except TimeoutError:
        text = f"the body did not arrive within the {timeout_seconds:g} s that the call may take"
        raise InvalidCall(text, status=408, error_type="timeout_error") from None


async def _may_name_objects(body: bytes) -> bool:
    """Whether the body of a token count may name objects."""
    try:
        return (await read_message(body, finds_objects=True)).names_objects
    except InvalidCall:  # the upstream will refuse it
        return True


def _check_models(call: Call, body: bytes) -> None:
    """Raises `Refusal` if the body names a model that the caller may not use."""
    if call.caller.models:
        for model in named_models(call.route, body):
            check_model(call.caller, model)


def _check_coding(headers: Headers, fields: Fields) -> None:
    """Raises `InvalidCall` for a compressed body, which cannot be priced, nor searched for what it names."""
    if _CODING not in fields:
        return
    coding = b", ".join([value.strip() for name, value in headers if name == _CODING])
    if coding.lower() not in (b"", b"identity"):
        given = coding[:80].decode("latin-1")
        raise InvalidCall(f"content-encoding: got {given!r}, allowed is none: send the body uncompressed", status=415)


def _content_length(fields: Fields) -> int | None:
    """The body's length, which the server has checked; None if it is chunked, or there is none."""
    length = fields.get(b"content-length")
    return None if length is None else int(length)
