"""Converts the exceptions of the SDK to Tidegate's."""

import json
from typing import Any, Final

import anthropic
import httpx2

from tidegate.core.claude.rate_limit_headers import read_retry_after
from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable

__all__ = ["SDK_ERRORS", "as_upstream_error"]

SDK_ERRORS: Final = (anthropic.APIError, httpx2.TransportError)
"""The exceptions of the SDK for an answer that is missing or incomplete."""

_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""The request was not sent, so the upstream cannot have accepted it."""


def as_upstream_error(error: anthropic.APIError | httpx2.TransportError, wall_seconds: float) -> UpstreamError:
    """Returns the failure as an `UpstreamError`. The SDK wraps only failures before the response headers."""
    if isinstance(error, anthropic.APIStatusError):
        headers = error.response.headers
        retry_after = read_retry_after(dict(headers), wall_seconds)
        return UpstreamError(
            f"{error.status_code} {error.type or 'error'}: {error.api_message or error.message}",
            status=error.status_code,
            error_type=error.type,
            error_code=error.error_code,
            upstream_message=error.api_message or "",
            retry_after_seconds=retry_after.seconds,
            retry_after_is_odd=retry_after.is_odd,
            headers=tuple(headers.raw),
            body=_body(error.body),
        )
    cause = error if isinstance(error, httpx2.TransportError) else error.__cause__
    what = type(cause).__name__ if cause is not None else type(error).__name__
    return UpstreamUnreachable(
        f"no complete answer from the upstream: {what}", may_have_been_accepted=not isinstance(cause, _NEVER_SENT)
    )


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
