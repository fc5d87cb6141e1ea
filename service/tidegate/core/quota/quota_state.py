"""The dump of a quota: what it has learned, and what requests in flight have left in it."""

from msgspec import Struct

from tidegate.core.acceleration.acceleration_limit import AccelerationLimitState
from tidegate.core.failures.probing import ProbingState
from tidegate.core.limits.adaptive_factor import AdaptiveFactorState
from tidegate.core.limits.reported_level import ReportedHistory
from tidegate.core.limits.reported_limit import ReportedLimitState
from tidegate.core.quota.pool_limits import PoolLimitsState
from tidegate.core.quota.rate_changes import RateChangesState
from tidegate.core.rate_search.rate_search import RateSearchState

__all__ = ["QuotaState", "QuotaWork"]


class QuotaState(Struct, frozen=True, array_like=True):
    """The dump of a `Quota`, without its settings and without requests in flight.

    Charges of requests in flight stay. Times are relative to the time of the dump.
    """

    limits: PoolLimitsState
    reported: tuple[ReportedLimitState, ReportedLimitState, ReportedLimitState]
    adaptive: AdaptiveFactorState | None
    acceleration: AccelerationLimitState
    search: RateSearchState | None
    probing: ProbingState
    freeze_ends_in_ns: int | None
    is_answered: bool
    cut_ago_ns: int
    charged_ago_ns: int
    reported_rates: RateChangesState


class QuotaWork(Struct, frozen=True, array_like=True):
    """The part of a `Quota` that is only of use together with the requests in flight.

    Attributes:
        open_input_tokens, open_output_tokens: the part of their charges that is still an estimate.
        searched_in_flight: how many of them were sent during the search for a rate.
        histories: recent charges and reports of each dimension.
    """

    open_input_tokens: int
    open_output_tokens: int
    searched_in_flight: int
    histories: tuple[ReportedHistory, ...]
