"""The feedback of one upstream response for a pool."""

from msgspec import Struct

from tidegate.core.domain.limit_report import LimitReport

__all__ = ["Failed", "Feedback", "RateLimited", "SpendCapped", "Succeeded"]


class Succeeded(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream answered well. A rate that was cut recovers a step.

    `sent_ago_ns`: how long ago the request with that lease was sent; None if a `LimitReport` has reported its answer.
    """

    sent_ago_ns: int | None = None
    lease_id: str = ""


class RateLimited(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream answered 429. The rate is cut a step, and the pool is frozen for `retry_after_ns`, if given.

    `sent_ago_ns` says how long ago the refused request was sent. A request that was sent before the last cut belongs to
    the same overrun and cuts nothing more. Without it every 429 cuts. `acceleration`: usage grew too fast, and no level
    is short. `pause_ns`: the shortest freeze, whatever the upstream said. `lease_id`: the lease of that request, which
    ends as throttled in the same step, so that what it gives back admits nobody before the freeze.
    """

    retry_after_ns: int | None = None
    sent_ago_ns: int | None = None
    acceleration: bool = False
    pause_ns: int = 0
    lease_id: str = ""


class Failed(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream failed for a request that was sent `sent_ago_ns` ago: 529, 5xx or no answer."""

    sent_ago_ns: int


class SpendCapped(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The upstream refuses all requests because a spend cap is reached, for `ends_in_ns`; None: it does not say."""

    ends_in_ns: int | None = None


Feedback = Succeeded | RateLimited | Failed | SpendCapped | LimitReport
"""The feedback of an answer."""
