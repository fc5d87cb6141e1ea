"""The state of one simulated API: its pools, cache, faults and ids."""

import asyncio
import random
import string
from collections import Counter
from typing import Final

from tidegate.simulator.cache import PromptCache
from tidegate.simulator.errors import ApiError
from tidegate.simulator.faults import FaultBoard
from tidegate.simulator.headers import rate_limit_headers
from tidegate.simulator.limits import Charge, Pool
from tidegate.simulator.models import Model
from tidegate.simulator.options import Clock, SimulatorOptions

ORGANIZATION: Final = "5f0c0000-0000-4000-8000-0000000051d0"
"""Value of `anthropic-organization-id` on every answer."""

_ID_LETTERS: Final = string.ascii_letters + string.digits


class World:
    """Everything that the routes share. Its size is bounded: pools are fixed, cache and faults are capped."""

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self._ids = random.Random(options.seed)  # noqa: S311  # ids that repeat, not secrets
        now = self.now_seconds()
        self.cache = PromptCache(options.cached_prefixes)
        fault_rng = random.Random(options.seed)  # noqa: S311  # of its own, so that ids do not shift the faults
        self.faults = FaultBoard(options.faults, fault_rng, now_seconds=now)
        self.answers_by_status: Counter[int] = Counter()
        self.pools = {
            name: Pool(per_minute, now_seconds=now, enforcement_seconds=enforcement_seconds)
            for name, (per_minute, enforcement_seconds) in options.limits_per_minute().items()
        }

    def now_seconds(self) -> float:
        """This moment on the monotonic clock."""
        return self.clock.monotonic_ns() / 1e9

    def new_id(self, prefix: str) -> str:
        """An id such as `msg_Wn3…`; the same seed gives the same ids."""
        return f"{prefix}_{''.join(self._ids.choices(_ID_LETTERS, k=24))}"

    def admit(self, pool: Pool, input_tokens_estimate: int, *, model: Model) -> Charge:
        """Let a request into a pool.

        Raises:
            ApiError: 429 with the seconds until the request would fit, rounded up.
        """
        outcome = pool.admit(input_tokens_estimate, self.now_seconds())
        if isinstance(outcome, Charge):
            return outcome
        what = outcome.dimension.value.replace("-", " ")
        raise ApiError(
            429,
            "rate_limit_error",
            f"This request would exceed your organization's rate limit of {outcome.limit_per_minute:,} {what} per "
            f"minute (model: {model.id})",
            retry_after_seconds=max(1, -int(-outcome.wait_seconds // 1)),
            should_retry=True,
        )

    def limit_headers(self, pool: Pool) -> dict[str, str]:
        """The rate-limit headers of a pool at this moment."""
        return rate_limit_headers(pool.state(self.now_seconds()), unix_seconds=self.clock.wall_seconds())

    async def wait(self, seconds: float) -> None:
        """The only place in which the simulator waits. Zero does not yield."""
        if seconds > 0:
            await asyncio.sleep(seconds)
