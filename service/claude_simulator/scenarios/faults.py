"""Faults to inject into the simulated API. Pure: time and randomness are arguments."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from claude_simulator.checks import decode
from claude_simulator.errors import ApiError

MAX_ACTIVE_FAULTS: Final = 100
"""Bounds memory."""


class FaultKind(StrEnum):
    """The faults that a call of `POST /v1/messages` can have."""

    RATE_LIMITED = "rate_limited"  # 429 with `retry-after`
    RATE_LIMITED_BARE = "rate_limited_bare"  # 429 without `retry-after`
    RAMP_LIMITED = "ramp_limited"  # 429, `ramp_limit_exceeded`: usage grew too fast
    SPEND_CAP = "spend_cap"  # 429, `enforced_spend_limit_reached`: the tier's cap; a retry is useless
    SPEND_LIMIT = "spend_limit"  # 400: the limit that the customer set
    UNAUTHENTICATED = "unauthenticated"  # 401: the key has been revoked
    FORBIDDEN = "forbidden"  # 403: the key may not do this
    NOT_FOUND = "not_found"  # 404: the model has been retired
    TOO_LARGE = "too_large"  # 413
    OVERLOADED = "overloaded"  # 529
    INTERNAL_ERROR = "internal_error"  # 500
    BAD_GATEWAY = "bad_gateway"  # 502 with an HTML body, as from a proxy before the API
    GATEWAY_TIMEOUT = "gateway_timeout"  # 504
    ORIGIN_ERROR = "origin_error"  # 520 with an HTML body, as from Cloudflare
    SLOW_START = "slow_start"  # waits before the response head
    SLOW_STREAM = "slow_stream"  # waits before each event
    STREAM_ERROR = "stream_error"  # `overloaded_error` in the middle of a stream; 529 if the request does not stream
    CUT = "cut"  # the connection breaks in the middle of the response
    INVALID_WORKFLOW = "invalid_workflow"  # the document or instance breaks its schema
    IMPLAUSIBLE_USAGE = "implausible_usage"  # the usage claims 10^12 output tokens
    UNKNOWN_CONTENT = "unknown_content"  # fields, blocks and events that no client knows
    REFUSAL = "refusal"  # `stop_reason: refusal`
    MAX_TOKENS = "max_tokens"  # the answer is truncated in the middle


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of fault, and which requests it affects.

    Args:
        kind: what happens.
        probability: share of the requests that are affected, 0 < p <= 1.
        count: how many requests are affected at most; None means no limit.
        skip: how many requests pass unaffected first.
        start_seconds: when it starts, counted from when the fault was added.
        end_seconds: when it ends, counted likewise; None means never.
        delay_seconds: for slow_start (once) and slow_stream (before each event); at most 3,600.
        retry_after_seconds: for rate_limited and ramp_limited.
        after_events: for stream_error and cut: how many content deltas precede it.

    Raises:
        ValueError: a value is outside its range; the message names field, value and range.
    """

    kind: FaultKind
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    start_seconds: float = 0.0
    end_seconds: float | None = None
    delay_seconds: float = 1.0
    retry_after_seconds: int = 1
    after_events: int = 3

    def __post_init__(self) -> None:
        _require(self, "probability", allowed="a number above 0, at most 1", valid=0 < self.probability <= 1)
        _require(self, "count", allowed="null or a whole number from 1", valid=self.count is None or self.count >= 1)
        _require(self, "skip", allowed="a whole number from 0", valid=self.skip >= 0)
        _require(self, "start_seconds", allowed="a finite number from 0", valid=0 <= self.start_seconds < math.inf)
        after_start = self.end_seconds is None or self.start_seconds < self.end_seconds < math.inf
        _require(self, "end_seconds", allowed="null or a finite number above start_seconds", valid=after_start)
        _require(self, "delay_seconds", allowed="a number from 0 to 3600", valid=0 <= self.delay_seconds <= 3600)
        whole_month = 0 <= self.retry_after_seconds <= 31 * 86_400
        _require(self, "retry_after_seconds", allowed="a whole number from 0 to 2678400", valid=whole_month)
        _require(self, "after_events", allowed="a whole number from 0", valid=self.after_events >= 0)


def _require(fault: Fault, field: str, *, allowed: str, valid: bool) -> None:
    if not valid:
        raise ValueError(f"{field}: {getattr(fault, field)!r} was given; {allowed} is allowed")


def fault_kind(name: Any) -> FaultKind:
    """Looks up a kind by its name.

    Raises:
        ValueError: there is none; the message lists all.
    """
    try:
        return FaultKind(name)
    except ValueError:
        raise ValueError(f"kind: {name!r} was given; allowed are {', '.join(FaultKind)}") from None


def fault_from(fields: Mapping[str, Any]) -> Fault:
    """Builds a fault from parsed JSON: `kind` and any other field of `Fault`.

    Raises:
        ValueError: a field is unknown, or its value has a wrong type or is outside its range.
    """
    fault: Fault = decode(fields, Fault)
    return fault


@dataclass(slots=True)
class _Active:
    fault: Fault
    added_seconds: float
    considered: int = 0
    affected: int = 0

    def exhausted(self, now_seconds: float) -> bool:
        fault = self.fault
        used_up = fault.count is not None and self.affected >= fault.count
        return used_up or (fault.end_seconds is not None and now_seconds - self.added_seconds >= fault.end_seconds)

    def affects_next(self, now_seconds: float, rng: random.Random) -> bool:
        if now_seconds - self.added_seconds < self.fault.start_seconds:
            return False
        self.considered += 1
        if self.considered <= self.fault.skip or rng.random() >= self.fault.probability:
            return False
        self.affected += 1
        return True


class ActiveFaults:
    """The faults in force. A request gets the first fault that affects it, in the order in which they were added."""

    def __init__(self, faults: tuple[Fault, ...], rng: random.Random, *, now_seconds: float) -> None:
        self._rng = rng
        self._active: list[_Active] = []
        for fault in faults:
            self.add(fault, now_seconds)

    def add(self, fault: Fault, now_seconds: float) -> None:
        """Adds a fault.

        Raises:
            ValueError: `MAX_ACTIVE_FAULTS` are in force.
        """
        self._remove_exhausted(now_seconds)
        if len(self._active) >= MAX_ACTIVE_FAULTS:
            raise ValueError(f"faults: {MAX_ACTIVE_FAULTS} are in force; clear them before you add more")
        self._active.append(_Active(fault, now_seconds))

    def clear(self) -> None:
        """Removes every fault."""
        self._active.clear()

    def next_fault(self, now_seconds: float) -> Fault | None:
        """Chooses the fault of the request that arrives now, and counts it."""
        self._remove_exhausted(now_seconds)
        return next((active.fault for active in self._active if active.affects_next(now_seconds, self._rng)), None)

    def listing(self, now_seconds: float) -> list[dict[str, Any]]:
        """Lists the faults in force: kind, how many requests were affected, and how many may still be."""
        self._remove_exhausted(now_seconds)
        return [
            {
                "kind": active.fault.kind.value,
                "probability": active.fault.probability,
                "affected": active.affected,
                "left": None if active.fault.count is None else active.fault.count - active.affected,
            }
            for active in self._active
        ]

    def _remove_exhausted(self, now_seconds: float) -> None:
        self._active = [active for active in self._active if not active.exhausted(now_seconds)]


_RATE_LIMIT_MESSAGE: Final = "This request would exceed your organization's rate limit (simulated fault)"
_RAMP_MESSAGE: Final = "Your usage grew faster than its ramp limit allows (simulated fault)"
CAP_MESSAGE: Final = "Your organization has reached the monthly cap of its tier. "
OWN_LIMIT_MESSAGE: Final = "You have reached your specified API usage limits. "
"""Start of the messages of spend limits, the tier's and the customer's own; the date of their end follows."""

_ERRORS: Final = {
    FaultKind.RATE_LIMITED: (429, "rate_limit_error", None, _RATE_LIMIT_MESSAGE),
    FaultKind.RATE_LIMITED_BARE: (429, "rate_limit_error", None, _RATE_LIMIT_MESSAGE),
    FaultKind.RAMP_LIMITED: (429, "rate_limit_error", "ramp_limit_exceeded", _RAMP_MESSAGE),
    FaultKind.SPEND_CAP: (429, "rate_limit_error", "enforced_spend_limit_reached", CAP_MESSAGE),
    FaultKind.SPEND_LIMIT: (400, "invalid_request_error", None, OWN_LIMIT_MESSAGE),
    FaultKind.UNAUTHENTICATED: (401, "authentication_error", None, "invalid x-api-key (simulated fault)"),
    FaultKind.FORBIDDEN: (403, "permission_error", None, "Your API key may not do this (simulated fault)"),
    FaultKind.NOT_FOUND: (404, "not_found_error", None, "model: it has been retired (simulated fault)"),
    FaultKind.TOO_LARGE: (413, "request_too_large", None, "Request exceeds the maximum size (simulated fault)"),
    FaultKind.OVERLOADED: (529, "overloaded_error", None, "Overloaded"),
    FaultKind.STREAM_ERROR: (529, "overloaded_error", None, "Overloaded"),
    FaultKind.INTERNAL_ERROR: (500, "api_error", None, "Internal server error"),
    FaultKind.GATEWAY_TIMEOUT: (504, "timeout_error", None, "The request timed out"),
}
_WITH_RETRY_AFTER: Final = (FaultKind.RATE_LIMITED, FaultKind.RAMP_LIMITED)
_SPENT: Final = (FaultKind.SPEND_CAP, FaultKind.SPEND_LIMIT)


def error_of(fault: Fault, *, unix_seconds: float) -> ApiError | None:
    """Builds the error response of a fault; None if the fault is in a successful response, or not JSON.

    `unix_seconds` is the current time. It dates spend limits: they end at 00:00 UTC on the first of the next month.
    """
    if fault.kind not in _ERRORS:
        return None
    status, error_type, error_code, message = _ERRORS[fault.kind]
    return ApiError(
        status,
        error_type,
        message + (regain_access(unix_seconds) if fault.kind in _SPENT else ""),
        error_code=error_code,
        retry_after_seconds=fault.retry_after_seconds if fault.kind in _WITH_RETRY_AFTER else None,
        should_retry=True if fault.kind in _WITH_RETRY_AFTER else None,
    )


def regain_access(unix_seconds: float) -> str:
    """The API's sentence about the end of a spend limit: 00:00 UTC on the first day of the next month."""
    today = datetime.fromtimestamp(unix_seconds, UTC)
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
    return f"You will regain access on {year}-{month:02}-01 at 00:00 UTC."
