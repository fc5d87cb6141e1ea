"""Makes exceptions of the upstream's error responses."""

from typing import Any, Final

from tidegate.core.claude.rate_limit_headers import read_retry_after
from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.ports.transport import Headers, TransportResponse
from tidegate.gateway.forwarded_headers import limit_headers
from tidegate.gateway.relay.json_reading import json_object
from tidegate.http.content_coding import decoded

__all__ = ["MAX_ERROR_BODY_BYTES", "StreamError", "read_error_body", "upstream_error"]

MAX_ERROR_BODY_BYTES: Final = 1024 * 1024
"""Error bodies have a few hundred bytes. A longer one is no usable response, and no more of it is decompressed."""


class StreamError(UpstreamError):
    """A stream reported an error before any content, and a retry may succeed; `body` is the whole stream.

    Attributes:
        broken: whether the stream broke off after the error event, instead of ending.
    """

    broken = False


def upstream_error(status: int, headers: Headers, body: bytes, wall_seconds: float) -> UpstreamError:
    """The exception for a response with an error status. The body may be anything, for example HTML."""
    error = json_object(decoded(headers, body, MAX_ERROR_BODY_BYTES)).get("error")
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    details = fields.get("details")
    retry_after = read_retry_after(limit_headers(headers), wall_seconds)
    return UpstreamError(
        str(fields.get("message") or f"the upstream answered with status {status}"),
        status=status,
        error_type=_text(fields.get("type")),
        error_code=_text(details.get("error_code")) if isinstance(details, dict) else None,
        retry_after_seconds=retry_after.seconds,
        retry_after_is_odd=retry_after.is_odd,
        headers=headers,
        body=body,
    )


async def read_error_body(response: TransportResponse) -> bytes:
    """The whole body of an error response.

    Raises:
        UpstreamUnreachable: it is longer than `MAX_ERROR_BODY_BYTES`, or the connection broke.
    """
    body = b""
    async for chunk in response.chunks():
        body += chunk
        if len(body) > MAX_ERROR_BODY_BYTES:
            raise UpstreamUnreachable(
                f"no usable response from the upstream: an error of more than {MAX_ERROR_BODY_BYTES} bytes",
                may_have_been_accepted=False,
            )
    return body


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
