"""Why a request is not let in."""

import math
from dataclasses import dataclass
from typing import Final

from claude_simulator.limits.dimension import Dimension
from claude_simulator.scenarios.scenario import SpendCapKind

_CAP_ERROR_CODES: Final = {
    SpendCapKind.TIER: "enforced_spend_limit_reached",
    SpendCapKind.CONTRACT: "contract_spend_limit_reached",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not let in: the dimension that needs longest, its limit, and how long that takes.

    `ramp` tells that it is not the limit itself but how fast use grows towards it.
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
        """`error_code` of the answer."""
        return "ramp_limit_exceeded" if self.ramp else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that the API fails to answer, for a reason that has nothing to do with the quota."""

    status: int


@dataclass(frozen=True, slots=True)
class CapReached:
    """A request that comes after the spend cap is reached."""

    kind: SpendCapKind

    @property
    def status(self) -> int:
        """400 for the customer's own limit, else 429."""
        return 400 if self.kind is SpendCapKind.OWN else 429

    @property
    def error_code(self) -> str | None:
        """`error_code` of the answer; the customer's own limit has none."""
        return _CAP_ERROR_CODES.get(self.kind)


Denial = Refusal | Failure | CapReached
"""Why a request is not let in."""
