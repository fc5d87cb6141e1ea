"""The meaning of a failed attempt, for retries, for its lease and for metrics."""

from typing import Final

from tidegate.core.claude.rate_limit_headers import header_text, read_limits
from tidegate.core.claude.request_ids import upstream_request_id
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import DIMENSIONS, Cost
from tidegate.core.domain.errors import Refusal, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage

__all__ = [
    "FAIR_SECONDS",
    "attempt_status",
    "credentials_refusal",
    "failed_outcome",
    "lease_outcome",
    "limited_dimension",
    "never_began",
    "status_of",
]

FAIR_SECONDS: Final = 60.0
"""A caller that gives the upstream less time than this says nothing about the upstream."""
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_RAMP_CODE: Final = "ramp_limit_exceeded"
"""`error_code` of a 429 for use that grew too fast. Source: Anthropic Python SDK 2.12.0 `types/shared`."""

_STATUS_OF_EVENTS: Final[dict[str | None, int]] = {
    "overloaded_error": 529,
    "api_error": 500,
    "rate_limit_error": 429,
}
"""The HTTP status of an error type, for error events inside a stream.

Source: Claude Platform Docs, "Claude API errors" (read 2026-11-24).
"""


def status_of(error: UpstreamError) -> int | None:
    """The HTTP status of a failure; for an error event inside a stream that of its type, or None if it is unknown."""
    return _STATUS_OF_EVENTS.get(error.error_type) if error.status == 200 else error.status


def lease_outcome(error: UpstreamError, used: Usage | None = None) -> tuple[Outcome, Cost | None]:
    """The outcome of a failed attempt's lease, and what to charge; None to charge as the outcome says.

    Args:
        error: the failure.
        used: the usage that the response had reported until it failed, if any.

    A response with an error status is charged nothing. This is not documented. If the upstream counts it nevertheless,
    the headers of the next response correct the level.
    """
    cost = None if used is None else used.cost()
    if isinstance(error, UpstreamUnreachable):
        return (Outcome.ABANDONED, cost) if error.may_have_been_accepted else (Outcome.RELEASED, None)
    if error.status == 429 or error.error_type == "rate_limit_error":
        return Outcome.THROTTLED, None
    if error.status == 200:
        return Outcome.OVERLOADED, cost
    return (Outcome.OVERLOADED, Cost()) if error.status >= 500 else (Outcome.RELEASED, None)


def never_began(error: UpstreamError, *, stream_opened: bool) -> bool:
    """Whether a request may have been accepted, and no part of its response had begun.

    This is so if we gave up, and if the stream opened (`stream_opened`) and had no event.
    """
    return stream_opened or (isinstance(error, UpstreamUnreachable) and error.out_of_time)


def credentials_refusal(error: UpstreamError) -> Refusal | None:
    """The refusal that replaces an upstream's 401, which is about the service's key; None for other errors.

    A 403 or a 404 may concern one model, so clients receive it unchanged.
    """
    if error.status != _UNAUTHORIZED:
        return None
    request_id = upstream_request_id(error.headers)
    return Refusal(
        Cause.UPSTREAM_CREDENTIALS,
        "the upstream rejects the API key of this service itself: its operator must set a valid ANTHROPIC_API_KEY"
        + (f" (request-id of the upstream: {request_id})" if request_id else ""),
    )


def attempt_status(error: BaseException) -> str:
    """The status label of a failed attempt, as in `AttemptFinished.status`."""
    if not isinstance(error, UpstreamError):
        return "abandoned"
    if isinstance(error, UpstreamUnreachable):
        return "deadline" if error.out_of_time else "error"
    status = status_of(error)
    return "error" if status is None else str(status)


def failed_outcome(error: UpstreamError) -> str:
    """The outcome of a call that ends with this error of the upstream, as in `RequestFinished.outcome`.

    A 403 is about the service's key, so it is a failure of the service. A 404 is the client's: it may have invented the
    model. A short deadline of the call itself fails nobody.
    """
    status = attempt_status(error)
    if status == "429":
        return "rate_limited"
    if isinstance(error, UpstreamUnreachable):
        return "deadline" if error.is_hasty else "upstream_error"
    return "client_error" if 400 <= error.status < 500 and error.status != _FORBIDDEN else "upstream_error"


def limited_dimension(error: UpstreamError, *, fast: bool = False) -> str:
    """The limit that a 429 hit: `acceleration`, the dimension with the smallest remaining share, or `unknown`.

    `fast`: the call was in fast mode, which has its own limits.
    """
    if error.error_code == _RAMP_CODE:
        return "acceleration"
    report = read_limits(header_text(error.headers), wall_seconds=0.0, fast=fast)
    left = {
        dimension: each.remaining / each.per_minute
        for dimension, each in zip(DIMENSIONS, report.dimensions, strict=True)
        if each is not None and each.remaining is not None
    }
    return min(left, key=lambda dimension: left[dimension]) if left else "unknown"
