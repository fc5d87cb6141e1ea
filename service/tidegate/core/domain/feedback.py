"""What one response of the upstream teaches a pool."""

from msgspec import Struct

from tidegate.core.domain.limit_report import LimitReport

__all__ = ["Failed", "Feedback", "RateLimited", "SpendCapped", "Succeeded"]


class Succeeded(Struct, frozen=True, gc=False):
    """The upstream answered well: an adapted rate may recover a step.

    `sent_ago_ns`: how long ago the request with that lease was sent; None where a `LimitReport` has told of its answer.
    """

    sent_ago_ns: int | None = None
    lease_id: str = ""


class RateLimited(Struct, frozen=True, gc=False):
    """The upstream answered 429: the rate is cut a step, and the pool is frozen for `retry_after_ns`, if it said so.

    `sent_ago_ns` says when the refused request was sent. One that was sent before the last cut belongs to the same
    overrun and cuts nothing more; without it every 429 cuts. `acceleration`: usage grew too fast, no level is short.
    `pause_ns`: freeze for that long at least, whatever the upstream said. `lease_id`: the lease of that request, which
    ends with it as throttled: what it gives back lets nobody in ahead of the freeze.
    """

    retry_after_ns: int | None = None
    sent_ago_ns: int | None = None
    acceleration: bool = False
    pause_ns: int = 0
    lease_id: str = ""


class Failed(Struct, frozen=True, gc=False):
    """The upstream failed, for a request that was sent `sent_ago_ns` ago: 529, 5xx, or no answer."""

    sent_ago_ns: int


class SpendCapped(Struct, frozen=True, gc=False):
    """The upstream refuses everything because a spend cap is reached, for `ends_in_ns`; None: it does not say."""

    ends_in_ns: int | None = None


Feedback = Succeeded | RateLimited | Failed | SpendCapped | LimitReport
"""What an answer teaches a pool."""
