"""What a request that is not let in is told."""

from typing import Final

from claude_simulator.errors import ApiError
from claude_simulator.limits.denials import CapReached, Denial, Failure, Refusal
from claude_simulator.requests.models import Model
from claude_simulator.scenarios.faults import CAP_MESSAGE, OWN_LIMIT_MESSAGE, regain_access
from claude_simulator.scenarios.scenario import SpendCapKind

_FAILURES: Final = {
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "The request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


def no_fast_mode_error(model: Model) -> ApiError:
    """What an account without fast mode gets, as alemtani/vorpal#76 quotes it."""
    return ApiError(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 0 fast mode input tokens per minute "
        f"(model: {model.id})",
    )


def denial_error(denial: Denial, model: Model, *, unix_seconds: float, retry_after_visible: bool) -> ApiError:
    """The error that a client gets. `unix_seconds` dates the end of a spend cap: the first of the next month."""
    match denial:
        case Failure(status):
            return ApiError(status, *_FAILURES[status])
        case CapReached(kind):
            message = OWN_LIMIT_MESSAGE if kind is SpendCapKind.OWN else CAP_MESSAGE
            error_type = "invalid_request_error" if kind is SpendCapKind.OWN else "rate_limit_error"
            return ApiError(
                denial.status, error_type, message + regain_access(unix_seconds), error_code=denial.error_code
            )
        case Refusal(dimension, limit_per_minute, _, ramp):
            what = f"{'fast mode ' if model.is_fast else ''}{dimension.value.replace('-', ' ')}"
            exceeded = "what your usage may grow to now," if ramp else "your organization's rate limit of"
            return ApiError(
                429,
                "rate_limit_error",
                f"This request would exceed {exceeded} {limit_per_minute:,} {what} per minute (model: {model.id})",
                error_code=denial.error_code,
                retry_after_seconds=denial.retry_after_seconds if retry_after_visible else None,
                should_retry=True,
            )
