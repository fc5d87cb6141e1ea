"""One call of a client, from its arrival to the end of its answer."""

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
from tidegate.core.ports.transport import Fields
from tidegate.gateway.receive.request import InvalidCall

__all__ = ["Call", "names_timeout", "silence_seconds", "timeout_seconds"]

_TIMEOUT_SECONDS, _STAINLESS_TIMEOUT = TIDEGATE_TIMEOUT_SECONDS.encode(), STAINLESS_TIMEOUT.encode()
_READ_TIMEOUT = STAINLESS_READ_TIMEOUT.encode()
_LONGEST_TIMEOUT_SECONDS: Final = 86_400.0
_MAX_MARGIN_SECONDS: Final = 0.5
_MARGIN_SHARE: Final = 0.05
"""An SDK that times out does not see an answer that comes at the same moment: it is sent earlier by this share of the
time, or by half a second if that is less."""
_LONGEST_LOOKUP_SECONDS: Final = 60.0
"""Until its answer begins: of a list of models or a file's data somebody would rather hear that there is an outage."""


class Call(Struct, gc=False):
    """What is known of a call so far; instants are on the monotonic clock.

    Attributes:
        request_id: our name for it.
        route: one of a closed set; see `route_of`.
        fields: the client's header fields; once they have been read, those that a refusal looks at.
        started_ns: when it arrived.
        traced: whether scopes inside of its own tell anybody anything.
        deadline_ns: when the client stops waiting, as far as we know.
        caller: who calls; the default caller until it is identified.
        session: the caller's session that it belongs to; empty for the one of calls that name none.
        agent: the agent of that session; empty for the main one.
        pool: the pool it draws on; empty until it is priced.
        attempts: attempts at the upstream so far.
        queued_ns: time spent waiting for quota so far.
        waited_ns: time spent waiting for whatever is not ours: the client's body, quota, the upstream, a slow reader.
        handed_ns: when the last part of the answer was handed on; None before.
        in_flight: an attempt has been sent, or its answer is being relayed.
        names_timeout: its client said how long it waits.
        is_read_on: its client has left, and its answer is read on to learn its usage.
        is_counted: it counts among the calls under way.
        is_counted_for: the caller among whose calls it counts; None: none.
        held_bytes: of its body, held in memory.
        status: HTTP status of the answer; None until it has begun.
        refused: why Tidegate refused it; None if it did not.
        outcome: how it ended, as in `RequestFinished`; `abandoned` until there is another.
        model: the model that it names; empty where there is none.
        usage: what the answer says was used.
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
    queued_ns: int = 0
    waited_ns: int = 0
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

    def left_seconds(self, now_ns: int) -> float:
        """How much longer the client waits; never negative."""
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
            queued_ns=self.queued_ns,
            attempts=self.attempts,
            usage=self.usage,
            exemplar=exemplar,
        )

    @property
    def overhead_ns(self) -> int | None:
        """Our own time in a call that was answered in whole, at the first attempt; None for any other."""
        if self.handed_ns is None or self.attempts != 1:
            return None
        return max(0, self.handed_ns - self.started_ns - self.waited_ns)

    @property
    def queued_ms(self) -> int:
        """Time spent waiting for quota, in whole milliseconds."""
        return self.queued_ns * 1_000 // NS_PER_SECOND


def timeout_seconds(fields: Fields, default_seconds: float, *, is_lookup: bool = False) -> float:
    """How long the client waits: by our header, else by what an Anthropic SDK says of itself, else the default.

    Of an SDK's own timeout a margin is kept, so that the answer comes before the SDK stops waiting.

    For a look-up, which no model has to answer, a minute at most unless our header says more: SDKs say of every call
    that they wait for ten.

    Raises:
        InvalidCall: our header holds something else than a number of seconds above 0.
    """
    own = fields.get(_TIMEOUT_SECONDS)
    if own is not None:
        seconds = _seconds(own)
        if seconds is None:
            allowed = f"a number of seconds above 0, at most {_LONGEST_TIMEOUT_SECONDS:g}"
            given = own[:80].decode("latin-1")
            raise InvalidCall(f"{TIDEGATE_TIMEOUT_SECONDS}: got {given!r}, allowed is {allowed}")
        return seconds
    named = _seconds(fields.get(_STAINLESS_TIMEOUT, b""))
    seconds = default_seconds if named is None else _in_time(named)
    return min(seconds, _LONGEST_LOOKUP_SECONDS) if is_lookup else seconds


def names_timeout(fields: Fields) -> bool:
    """Whether a client says how long it waits."""
    return _TIMEOUT_SECONDS in fields or _seconds(fields.get(_STAINLESS_TIMEOUT, b"")) is not None


def silence_seconds(fields: Fields) -> float | None:
    """How long the client waits for the first byte of its answer once it has sent its request; None if it does not say.

    A margin is kept, as of an SDK's timeout.
    """
    raw = fields.get(_READ_TIMEOUT)
    named = None if raw is None else _seconds(raw)
    return None if named is None else _in_time(named)


def _in_time(seconds: float) -> float:
    return seconds - min(_MAX_MARGIN_SECONDS, _MARGIN_SHARE * seconds)


@lru_cache(maxsize=256)  # a program says the same in each of its calls
def _seconds(raw: bytes) -> float | None:
    try:
        seconds = float(raw)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= _LONGEST_TIMEOUT_SECONDS else None
