"""Error answers of the upstream, as errors."""

from typing import Any, Final

from tidegate.core.claude.rate_limit_headers import read_retry_after
from tidegate.core.domain.errors import UpstreamError
from tidegate.core.ports.transport import Headers
from tidegate.gateway.forwarded_headers import limit_headers
from tidegate.gateway.relay.json_reading import json_object
from tidegate.http.content_coding import decoded

__all__ = ["upstream_error"]

_MAX_BYTES: Final = 1024 * 1024
"""Error bodies are a few hundred bytes; of one that says more when decompressed, the rest is not looked at."""


def upstream_error(status: int, headers: Headers, body: bytes, wall_seconds: float) -> UpstreamError:
    """The error that an answer with an error status stands for; its body may be anything, for example HTML."""
    error = json_object(decoded(headers, body, _MAX_BYTES)).get("error")
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


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
