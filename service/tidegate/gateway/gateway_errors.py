"""Makes Tidegate's own responses under `/v1`: errors in the shape of the Claude API."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tidegate.core.claude.header_names import REQUEST_ID, RETRY_AFTER, SHOULD_RETRY, TIDEGATE_CAUSE, TIDEGATE_REQUEST_ID
from tidegate.core.domain.errors import Refusal, UpstreamUnreachable
from tidegate.core.ports.transport import Fields, Headers
from tidegate.gateway.receive.request import InvalidCall

__all__ = [
    "LocalResponse",
    "client_version_fields",
    "error_body",
    "invalid",
    "no_stream",
    "refused",
    "unreachable",
    "unread_request",
]

_LONGEST_OBEYED_SECONDS: Final = 60
"""Anthropic SDKs before 2.x ignore a `retry-after` above this and retry after seconds (Python SDK 0.121.0)."""
_CLAUDE_CODE: Final = b"claude-cli/"
"""Claude Code 2.1.332 fails at once if `retry-after` is above 60 s. Up to that it retries 10 times, each time
after up to a quarter longer than told (measured 2026-12-01). So it is never told more."""
_METHOD_NOT_ALLOWED: Final = 405
_OTHER_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_SDK_VERSION, _USER_AGENT = _CLIENT = (b"x-stainless-package-version", b"user-agent")
_OLD_SDK: Final = re.compile(rb"(?:Async)?Anthropic/\w+ [01]\.")


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """A response made here, without the header fields that every response gets."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    should_retry: bool


def client_version_fields(client_fields: Fields) -> Fields:
    """The header fields of a client that `refused` depends on: they show the version of its SDK."""
    return {name: client_fields[name] for name in _CLIENT if name in client_fields}


def refused(refusal: Refusal, request_id: str, client_fields: Fields) -> LocalResponse:
    """The response to a call that Tidegate refuses. It says why, and when the same call may succeed."""
    row = refusal.row
    headers = {TIDEGATE_CAUSE: refusal.cause.value}
    wait_seconds = None if refusal.retry_after_seconds is None else max(1, math.ceil(refusal.retry_after_seconds))
    if wait_seconds is not None:
        if row.retryable and client_fields.get(_USER_AGENT, b"").startswith(_CLAUDE_CODE):
            wait_seconds = min(wait_seconds, _LONGEST_OBEYED_SECONDS)
        headers[RETRY_AFTER] = str(wait_seconds)
    retries_too_early = (wait_seconds or 0) > _LONGEST_OBEYED_SECONDS and _is_old_sdk(client_fields)
    should_retry = row.retryable and not retries_too_early
    return _response(row.status, row.error_type, str(refusal), request_id, should_retry=should_retry, headers=headers)


def invalid(call: InvalidCall, request_id: str) -> LocalResponse:
    """The response to a call that cannot be sent on."""
    headers = {"allow": _OTHER_METHODS} if call.status == _METHOD_NOT_ALLOWED else {}
    return _response(call.status, call.error_type, str(call), request_id, should_retry=False, headers=headers)


def unreachable(error: UpstreamUnreachable, request_id: str, *, out_of_time: bool) -> LocalResponse:
    """The response if the upstream gave none: 504 if the client's time is over, else 502.

    A client should not retry a request that may have been accepted. It may have been billed, and was retried here.
    """
    status, error_type = (504, "timeout_error") if out_of_time else (502, "api_error")
    should_retry = not error.may_have_been_accepted
    return _response(status, error_type, str(error), request_id, should_retry=should_retry, headers={})


def no_stream(request_id: str) -> LocalResponse:
    """The response to a client whose stream was begun with comments, if the upstream sends something else."""
    message = "the upstream's response is not an event stream"
    return _response(502, "api_error", message, request_id, should_retry=True, headers={})


def error_body(error_type: str, message: str, request_id: str) -> bytes:
    """An error in the API's shape, on one line."""
    fields = {"type": "error", "error": {"type": error_type, "message": message}, "request_id": request_id}
    return json.dumps(fields, ensure_ascii=False).encode()


def unread_request(error_type: str, message: str, request_id: str) -> tuple[Headers, bytes]:
    """Header fields and body of the response to a request that the HTTP server itself refuses."""
    fields = {"content-type": "application/json", REQUEST_ID: request_id, TIDEGATE_REQUEST_ID: request_id}
    headers = tuple((name.encode(), value.encode()) for name, value in fields.items())
    return headers, error_body(error_type, message, request_id)


def _response(
    status: int, error_type: str, message: str, request_id: str, *, should_retry: bool, headers: Mapping[str, str]
) -> LocalResponse:
    body = error_body(error_type, message, request_id)
    fields = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        REQUEST_ID: request_id,
        SHOULD_RETRY: "true" if should_retry else "false",
        **headers,
    }
    return LocalResponse(
        status, tuple((name.encode(), value.encode()) for name, value in fields.items()), body, should_retry
    )


def _is_old_sdk(client_fields: Fields) -> bool:
    version = client_fields.get(_SDK_VERSION, b"")
    return version.startswith((b"0.", b"1.")) or bool(_OLD_SDK.match(client_fields.get(_USER_AGENT, b"")))
