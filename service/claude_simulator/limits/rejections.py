"""Reasons for which a request is not admitted, and the error response for each."""

import math
from dataclasses import dataclass
from typing import Final

from claude_simulator.errors import ApiError
from claude_simulator.limits.dimension import Dimension
from claude_simulator.requests.models import Model
from claude_simulator.scenarios.faults import CAP_MESSAGE, OWN_LIMIT_MESSAGE, regain_access
from claude_simulator.scenarios.scenario import SpendCapKind

_CAP_ERROR_CODES: Final = {
    SpendCapKind.TIER: "enforced_spend_limit_reached",
    SpendCapKind.CONTRACT: "contract_spend_limit_reached",
}
_OUTAGE_ERRORS: Final = {
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "The request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


@dataclass(frozen=True, slots=True)
class RateLimited:
    """A limit is exhausted: the dimension with the longest wait, its limit, and that wait.

    With `ramp`, usage of the dimension grows too fast, and `limit_per_minute` is what it may grow to now.
    """

    dimension: Dimension
    limit_per_minute: int
    wait_seconds: float
    ramp: bool = False

    @property
    def retry_after_seconds(self) -> int:
        """Value of `retry-after`: the wait, rounded up to a whole second."""
        return max(1, math.ceil(self.wait_seconds))

    @property
    def error_code(self) -> str | None:
        """`error_code` of the response."""
        return "ramp_limit_exceeded" if self.ramp else None


@dataclass(frozen=True, slots=True)
class OutageFailure:
    """The API fails with this status, independently of the quota."""

    status: int


@dataclass(frozen=True, slots=True)
class SpendCapReached:
    """The spend cap was reached before the request."""

    kind: SpendCapKind

    @property
    def status(self) -> int:
        """400 for the customer's own limit, else 429."""
        return 400 if self.kind is SpendCapKind.OWN else 429

    @property
    def error_code(self) -> str | None:
        """`error_code` of the response; None for the customer's own limit."""
        return _CAP_ERROR_CODES.get(self.kind)


Rejection = RateLimited | OutageFailure | SpendCapReached
"""The reason for which a request is not admitted."""


def no_fast_mode_error(model: Model) -> ApiError:
    """The error for an account without fast mode, as alemtani/vorpal#76 quotes it."""
    return ApiError(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 0 fast mode input tokens per minute "
        f"(model: {model.id})",
    )


def rejection_error(rejection: Rejection, model: Model, *, unix_seconds: float, retry_after_visible: bool) -> ApiError:
    """The error for a rejected request. A spend cap ends on the first of the month that follows `unix_seconds`."""
    match rejection:
        case OutageFailure(status):
            return ApiError(status, *_OUTAGE_ERRORS[status])
        case SpendCapReached(kind):
            message = OWN_LIMIT_MESSAGE if kind is SpendCapKind.OWN else CAP_MESSAGE
            error_type = "invalid_request_error" if kind is SpendCapKind.OWN else "rate_limit_error"
            return ApiError(
                rejection.status, error_type, message + regain_access(unix_seconds), error_code=rejection.error_code
            )
        case RateLimited(dimension, limit_per_minute, _, ramp):
            what = f"{'fast mode ' if model.is_fast else ''}{dimension.value.replace('-', ' ')}"
            exceeded = "what your usage may grow to now," if ramp else "your organization's rate limit of"
            return ApiError(
                429,
                "rate_limit_error",
                f"This request would exceed {exceeded} {limit_per_minute:,} {what} per minute (model: {model.id})",
                error_code=rejection.error_code,
                retry_after_seconds=rejection.retry_after_seconds if retry_after_visible else None,
                should_retry=True,
            )
