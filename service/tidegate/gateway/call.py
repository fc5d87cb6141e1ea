"""The state of one call, from its arrival to the end of its response, and how long its client waits."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from tidegate.core.claude.header_names import STAINLESS_READ_TIMEOUT, STAINLESS_TIMEOUT, TIDEGATE_TIMEOUT_SECONDS
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RequestFinished
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.transport import Fields, Headers
from tidegate.engine.waiting import Waiting
from tidegate.gateway.receive.request import InvalidCall

__all__ = ["Call", "named_seconds", "names_timeout", "silence_seconds", "timeout_seconds"]

_TIMEOUT_SECONDS, _STAINLESS_TIMEOUT = TIDEGATE_TIMEOUT_SECONDS.encode(), STAINLESS_TIMEOUT.encode()
_READ_TIMEOUT = STAINLESS_READ_TIMEOUT.encode()
_LONGEST_TIMEOUT_SECONDS: Final = 86_400.0
_MAX_MARGIN_SECONDS: Final = 0.5
_MARGIN_SHARE: Final = 0.05
"""A response must arrive before the SDK times out. So it is sent earlier by this share of the time, at most half a
second."""
_LONGEST_LOOKUP_SECONDS: Final = 60.0
"""The longest wait of a lookup for the beginning of its response. SDKs say 10 minutes for every call, but an outage
should show sooner where no model has to be asked."""


class Call(Struct, gc=False):
    """The state of a call. Instants are on the monotonic clock.

    Attributes:
        request_id: Tidegate's id of the call.
        route: one of a closed set; see `route_of`.
        fields: the client's header fields; after they are read, only those that a refusal depends on.
        started_ns: when it arrived.
        deadline_ns: when the client stops waiting, as far as known.
        caller: the caller; the default caller until it is identified.
        session: the caller's session; empty if the client names none.
        agent: the agent in that session; empty for the main agent.
        pool: the pool that the call uses; empty until it is known.
        attempts: attempts at the upstream so far.
        queue_wait_ns: time spent waiting for quota so far.
        external_wait_ns: time spent waiting for others: the client's body, quota, the upstream, a slow reader.
        handed_ns: when the last part of the response was passed to the server; None before.
        in_flight: whether a request has been sent, or its response is being relayed.
        names_timeout: whether the client says how long it waits.
        is_read_on: whether the client has disconnected and the response is read on for its usage.
        is_counted: whether it is counted among the calls under way.
        is_counted_for: the caller among whose calls it is counted; None: no caller.
        held_bytes: bytes of its body in memory.
        status: HTTP status of the response; None until it has begun.
        refused: why Tidegate refused it; None if it did not.
        outcome: how it ended, as in `RequestFinished`; `abandoned` until another outcome is known.
        model: the model that the request names; empty if it names none.
        usage: the usage that the response reports.
        traced: whether spans of the call are recorded.
        waiting: its wait for quota; None while it does not wait.
        may_be_compressed: whether the response to the request in flight may be a compressed stream.
        upstream_request_id: the upstream's id of the last attempt that got a response; empty if it gave none.
        creates_objects: whether the response may name objects that the call creates.
        wants_cost: whether the client wants to know what the call has cost.
        wants_budgets: whether it wants to know what is left of its budgets, however much that is.
        spending_headers: the header fields of the response that say so.
    """

    request_id: str
    route: str
    fields: Fields
    started_ns: int
    deadline_ns: int
    caller: Caller = DEFAULT_CALLER
    session: str = ""
    agent: str = ""
    pool: str = ""
    attempts: int = 0
    queue_wait_ns: int = 0
    external_wait_ns: int = 0
    handed_ns: int | None = None
    in_flight: bool = False
    names_timeout: bool = False
    is_read_on: bool = False
    is_counted: bool = False
    is_counted_for: str | None = None
    held_bytes: int = 0
    status: int | None = None
    refused: Cause | None = None
    outcome: str = "abandoned"
    model: str = ""
    usage: Usage | None = None
    traced: bool = False
    waiting: Waiting | None = None
    may_be_compressed: bool = False
    upstream_request_id: str = ""
    creates_objects: bool = False
    wants_cost: bool = False
    wants_budgets: bool = False
    spending_headers: Headers = ()

    def left_seconds(self, now_ns: int) -> float:
        """The time until the client gives up; never negative."""
        return to_seconds(max(0, self.deadline_ns - now_ns))

    def finished(self, now_ns: int, exemplar: Mapping[str, str] | None) -> RequestFinished:
        """The event for its end; `exemplar` as there."""
        return RequestFinished(
            self.route,
            self.pool,
            self.caller,
            self.outcome,
            duration_ns=now_ns - self.started_ns,
            overhead_ns=self.overhead_ns,
            request_id=self.request_id,
            model=self.model,
            status=self.status or 0,
            cause=self.refused,
            queue_wait_ns=self.queue_wait_ns,
            attempts=self.attempts,
            usage=self.usage,
            exemplar=exemplar,
            upstream_request_id=self.upstream_request_id,
        )

    @property
    def overhead_ns(self) -> int | None:
        """The time that Tidegate itself took, for a call that got a whole response at the first attempt; else None."""
        if self.handed_ns is None or self.attempts != 1:
            return None
        return max(0, self.handed_ns - self.started_ns - self.external_wait_ns)

    @property
    def queued_ms(self) -> int:
        """Time spent waiting for quota, in whole milliseconds."""
        return self.queue_wait_ns * 1_000 // NS_PER_SECOND


def timeout_seconds(fields: Fields, default_seconds: float, *, is_lookup: bool = False) -> float:
    """The client's timeout: by Tidegate's header, else by its SDK's less a margin, else the default.

    A lookup waits a minute at most, unless Tidegate's header says more.

    Raises:
        InvalidCall: Tidegate's header is not a number of seconds above 0.
    """
    own = fields.get(_TIMEOUT_SECONDS)
    if own is not None:
        seconds = _seconds(own)
        if seconds is None:
            allowed = f"a number of seconds above 0, at most {_LONGEST_TIMEOUT_SECONDS:g}"
            given = own[:80].decode("latin-1")
            raise InvalidCall(f"{TIDEGATE_TIMEOUT_SECONDS}: got {given!r}, allowed is {allowed}")
        return seconds
    named = named_seconds(fields)
    seconds = default_seconds if named is None else named
    return min(seconds, _LONGEST_LOOKUP_SECONDS) if is_lookup else seconds


def names_timeout(fields: Fields) -> bool:
    """Whether the client says how long it waits."""
    return _TIMEOUT_SECONDS in fields or _seconds(fields.get(_STAINLESS_TIMEOUT, b"")) is not None


def named_seconds(fields: Fields) -> float | None:
    """The SDK's timeout for the head of a response, less a margin; None if the client sends none."""
    named = _seconds(fields.get(_STAINLESS_TIMEOUT, b""))
    return None if named is None else _less_margin(named)


def silence_seconds(fields: Fields) -> float | None:
    """The client's timeout for the first byte of its response, after it has sent its request.

    The result has the same margin as an SDK's timeout. It is None if the client does not say.
    """
    raw = fields.get(_READ_TIMEOUT)
    named = None if raw is None else _seconds(raw)
    return None if named is None else _less_margin(named)


def _less_margin(seconds: float) -> float:
    return seconds - min(_MAX_MARGIN_SECONDS, _MARGIN_SHARE * seconds)


@lru_cache(maxsize=256)  # a client program sends the same value with each of its calls
def _seconds(raw: bytes) -> float | None:
    try:
        seconds = float(raw)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= _LONGEST_TIMEOUT_SECONDS else None
