"""The error type of the simulator and its wire format."""

import json
from typing import Any, Final

from claude_simulator.header_names import RETRY_AFTER, SHOULD_RETRY

MAX_MESSAGE_CHARACTERS: Final = 1_000


class ApiError(Exception):
    """An error response of the Claude API.

    Args:
        status: HTTP status.
        error_type: `error.type` of the body, e.g. `rate_limit_error`.
        message: one sentence that names the field, the value and what is allowed.
        error_code: `error.details.error_code`, if the error has one.
        retry_after_seconds: value of `retry-after`; None sends no such header.
        should_retry: value of `x-should-retry`; None sends no such header.

    Source: Claude Platform Docs "Claude API errors"; `x-should-retry: true` was seen on real 429s.
    """

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        *,
        error_code: str | None = None,
        retry_after_seconds: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.error_code = error_code
        self.retry_after_seconds = retry_after_seconds
        self.should_retry = should_retry

    def body(self, request_id: str) -> bytes:
        """The JSON body; also the `data` of a mid-stream `error` event."""
        error: dict[str, Any] = {"type": self.error_type, "message": self.message}
        if self.error_code is not None:
            error["details"] = {"error_code": self.error_code}
        return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()

    def headers(self) -> dict[str, str]:
        """Headers of this error, in addition to those of every response."""
        headers: dict[str, str] = {}
        if self.retry_after_seconds is not None:
            headers[RETRY_AFTER] = str(self.retry_after_seconds)
        if self.should_retry is not None:
            headers[SHOULD_RETRY] = "true" if self.should_retry else "false"
        return headers


def invalid_request(message: str) -> ApiError:
    """Creates a 400: the request breaks a rule of the API, and a retry is useless.

    A message that quotes a long value is cut to `MAX_MESSAGE_CHARACTERS`.
    """
    shortened = message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:MAX_MESSAGE_CHARACTERS]} …"
    return ApiError(400, "invalid_request_error", shortened)
