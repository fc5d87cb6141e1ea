"""The state of one simulated API."""

import asyncio
import random
import string
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from claude_simulator.answers.batches import BatchStore
from claude_simulator.answers.cache import PromptCache
from claude_simulator.http.file_store import FileStore
from claude_simulator.http.object_store import ObjectStore
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.headers import fast_limit_headers, rate_limit_headers
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.limits.quota import Quota, fast_pools, scenario_pools
from claude_simulator.limits.rejections import rejection_error
from claude_simulator.options import Clock, SimulatorOptions
from claude_simulator.requests.models import Model
from claude_simulator.scenarios.distributions import branch
from claude_simulator.scenarios.faults import ActiveFaults
from claude_simulator.scenarios.latency import Latency

if TYPE_CHECKING:
    from claude_simulator.http.request_record import RequestRecord

ORGANIZATION: Final = "5f0c0000-0000-4000-8000-0000000051d0"
"""Value of `anthropic-organization-id` on every response."""

_MAX_RECENT_REQUESTS: Final = 100
_ID_LETTERS: Final = string.ascii_letters + string.digits


class SimulatorState:
    """Pools, prompt cache, faults, batches and files, shared by all routes. Its size is bounded."""

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self._ids = random.Random(options.seed)  # noqa: S311  # ids that repeat, not secrets
        now = self.now_seconds()
        self.cache = PromptCache(options.cached_prefixes)
        fault_rng = random.Random(options.seed)  # noqa: S311  # separate, so that faults do not depend on ids
        self.faults = ActiveFaults(options.faults, fault_rng, now_seconds=now)
        self.batches = BatchStore()
        self.files = FileStore()
        self.objects = ObjectStore()
        self.recent_requests: deque[RequestRecord] = deque(maxlen=_MAX_RECENT_REQUESTS)
        self.responses_by_status: Counter[int] = Counter()
        self.scenario = options.effective_scenario()
        self.pools = {
            **scenario_pools(self.scenario, now),
            **fast_pools(self.scenario, now),
            "count_tokens": Pool({Dimension.REQUESTS: options.count_tokens_requests_per_minute}, now_seconds=now),
        }
        quota_rng = random.Random(options.seed)  # noqa: S311  # a simulation
        self._latency_rng = branch(quota_rng)
        self.quota = Quota(self.pools, self.scenario, quota_rng, now)

    def now_seconds(self) -> float:
        """The time on the monotonic clock."""
        return self.clock.monotonic_ns() / 1e9

    def advance(self) -> float:
        """Runs the quota events that are due, and returns the time."""
        now_seconds = self.now_seconds()
        self.quota.advance(now_seconds)
        return now_seconds

    def draw_latency(self) -> Latency:
        """Draws the latency of the next response."""
        return self.scenario.latency.draw(self._latency_rng)

    def new_id(self, prefix: str) -> str:
        """Creates an id such as `msg_Wn3…`; the same seed gives the same ids."""
        return f"{prefix}_{''.join(self._ids.choices(_ID_LETTERS, k=24))}"

    def admit(self, pool: Pool, input_tokens_estimate: int, *, model: Model) -> Charge:
        """Admits a request to a pool.

        Raises:
            ApiError: the request is rate-limited, or rejected by an outage or a spend cap of the scenario.
        """
        outcome = self.quota.admit(pool, input_tokens_estimate, self.now_seconds())
        if isinstance(outcome, Charge):
            return outcome
        raise rejection_error(
            outcome,
            model,
            unix_seconds=self.clock.wall_seconds(),
            retry_after_visible=self.scenario.headers.retry_after_visible,
        )

    def limit_headers(self, pool: Pool, *, fast: bool = False) -> dict[str, str]:
        """The present rate-limit headers of a pool (`fast`: in fast mode); none if the scenario hides them."""
        if not self.scenario.headers.visible:
            return {}
        write = fast_limit_headers if fast else rate_limit_headers
        return write(
            pool.state(self.advance()),
            unix_seconds=self.clock.wall_seconds(),
            token_rounding=self.scenario.headers.token_rounding,
        )

    async def wait(self, seconds: float) -> None:
        """Sleeps; the simulator waits nowhere else. Zero does not yield to the event loop."""
        if seconds > 0:
            await asyncio.sleep(seconds)
