"""Thresholds shared by alert rules and dashboard panels.

The rules of `deploy/prometheus` and the dashboards are generated from them, so that a red panel and a firing alert
agree. Shares are fractions of 1. A `WINDOW` is the range of a rate, and a `RECENT` window ends an alert within minutes
after its cause. A `LEAST` is the number of events in the window below which a share or percentile means nothing.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["BURN_WINDOWS", "BurnWindow"]

# --- Rate limits of the upstream ------------------------------------------------------------------------------------

RATE_LIMITED_WINDOW_SECONDS: Final = 600
"""Long enough that one 429 among many responses is not a spike."""
RATE_LIMITED_RECENT_SECONDS: Final = 120
RATE_LIMITED_SHARE_WARNING: Final = 0.05
"""Of all attempts. A limiter that knows the limits gets almost no 429s; at one in twenty it does not know them."""
RATE_LIMITED_SHARE_CRITICAL: Final = 0.25
"""Every fourth attempt is wasted: other clients use the same quota, or a limit was lowered. Red on dashboards; the page
comes from the latency objective, if calls wait for it."""
RATE_LIMITED_LEAST: Final = 5
"""Three 429s at night are not a spike."""

POOL_FROZEN_WINDOW_SECONDS: Final = 900
POOL_FROZEN_SHARE: Final = 0.5
"""Of the window. A 429 closes a pool for seconds. A pool closed half of the time can use at most half of its quota."""

ADAPTIVE_FACTOR_LOW: Final = 0.5
"""429s have halved the rate."""
ADAPTIVE_FACTOR_LOW_SECONDS: Final = 1_800
"""At the default recovery, 50 successes raise a factor of 0.5 to 1 again: that takes minutes, not half an hour."""

LIMIT_MISMATCH_SHARE: Final = 0.02
"""The factor by which a configured limit may exceed the reported one, because the upstream rounds its figures."""

LIMIT_FELL_SHARE: Final = 0.7
"""Of the median of the past day. A searched limit varies by a tenth or two."""
LIMIT_FELL_WINDOW_SECONDS: Final = 600
LIMIT_FELL_BASELINE_SECONDS: Final = 86_400

# --- Quota ----------------------------------------------------------------------------------------------------------

QUOTA_USED_RUNS_OUT: Final = 1.0
"""Used share of the upstream's limit. Above it, calls wait and the queue grows."""
QUOTA_TREND_SECONDS: Final = 3_600
"""Range of the trend of use; shorter swings are bursts."""
QUOTA_AHEAD_SECONDS: Final = 1_800
"""The time ahead for which use is predicted: enough to ask for a higher limit or to stop a batch job."""
QUOTA_USED_RISKY: Final = 0.6
"""Below this share the trend is ignored: the first calls of a day always show steep growth."""
QUOTA_UNUSED_SHARE: Final = 0.5
"""If half of the quota is unused while calls wait, a configured limit or the adaptive factor is too low."""
QUOTA_UNUSED_WINDOW_SECONDS: Final = 900

# --- Queue and refusals ---------------------------------------------------------------------------------------------

QUEUE_WAIT_WINDOW_SECONDS: Final = 300
QUEUE_WAIT_P95_WARNING_SECONDS: Final = 10.0
"""People notice such a wait. Excludes class `batch`, which is meant to wait. A bucket bound of the histogram."""
QUEUE_WAIT_P95_CRITICAL_SECONDS: Final = 60.0
"""Clients with the common timeout of one minute give up. Red on dashboards; the latency objective pages."""
QUEUE_WAIT_LEAST: Final = 5
QUEUE_GROWTH_PER_MINUTE: Final = 1.0
"""Arrivals minus departures, over the window below."""
QUEUE_GROWTH_WINDOW_SECONDS: Final = 900
QUEUE_GROWING_DEPTH: Final = 20
"""A shorter queue drains within moments."""
STARVED_WINDOW_SECONDS: Final = 900
"""A class is starved if it waits this long without an admission while other classes are admitted."""

REFUSED_WINDOW_SECONDS: Final = 600
REFUSED_RECENT_SECONDS: Final = 120
REFUSED_SHARE: Final = 0.05
"""Of all calls, for one cause: more than a single caller's mistake."""
REFUSED_LEAST: Final = 10

# --- Upstream -------------------------------------------------------------------------------------------------------

UPSTREAM_WINDOW_SECONDS: Final = 600
UPSTREAM_RECENT_SECONDS: Final = 120
UPSTREAM_LEAST: Final = 5
OVERLOADED_SHARE_WARNING: Final = 0.1
"""529s among attempts. Retries still hide most of them from callers."""
OVERLOADED_SHARE_CRITICAL: Final = 0.5
"""With five attempts, one call in thirty fails, and all others take far longer."""
UPSTREAM_ERROR_SHARE_WARNING: Final = 0.05
"""5xx other than 529, and attempts without a response. Normal is below one in a thousand."""
UPSTREAM_ERROR_SHARE_CRITICAL: Final = 0.5
FIRST_TOKEN_P95_SECONDS: Final = 10.0
"""Streams without thinking start within a few seconds. A bucket bound of the histogram."""
RESPONSE_P50_SECONDS: Final = 20.0
"""Half of the responses take longer than this and are slow in tokens, too. A bucket bound of the histogram."""
RESPONSE_TOKENS_PER_SECOND: Final = 5.0
"""Output tokens per second of waiting for responses. Long responses of a healthy model have 30 and more."""
HANGING_SHARE_WARNING: Final = 0.2
"""Attempts without a response before the deadline of their call. Some callers set deadlines that are too short."""
HANGING_SHARE_CRITICAL: Final = 0.8
"""Hardly any call of the pool gets a response in time: that is no caller's mistake."""
KEY_REJECTED_SHARE: Final = 0.5
"""401s and 403s among attempts: these are about the service's own key, never about a client's."""
KEY_REJECTED_LEAST: Final = 3
"""A key that was revoked fails every call, so few are enough."""
MODEL_NOT_FOUND_SHARE: Final = 0.5
"""404s among the attempts of a model that has answered before, or is configured: it was retired or renamed."""
ANOMALIES_LEAST: Final = 5
"""Implausible values of one kind in the window of the upstream. Normal is none; the cause of a single one is past."""

# --- Money ----------------------------------------------------------------------------------------------------------

SPEND_UNUSUAL_FACTOR: Final = 3.0
"""Relative to the average hour of the previous day."""
SPEND_UNUSUAL_LEAST_USD_PER_HOUR: Final = 10.0
"""Lower spend is not worth a page."""
SPEND_WINDOW_SECONDS: Final = 3_600
SPEND_BASELINE_SECONDS: Final = 86_400
SPEND_WEEK_SECONDS: Final = 7 * 86_400
"""Spend as high as at the same hour a week ago is usual: a Monday differs from a Sunday."""

BUDGET_LOW_SHARE: Final = 0.8
"""The spent share of a budget at which the log and the response headers warn, too."""
BUDGET_PACE_SECONDS: Final = 3_600
"""The pace of spending is that of this time; shorter swings are bursts."""
BUDGET_AHEAD_SECONDS: Final = 14_400
"""The time ahead for which it is predicted: enough to raise the budget, or to stop what runs away."""

# --- The service itself ---------------------------------------------------------------------------------------------

ESTIMATE_RATIO_LOW: Final = 0.5
"""Median of reserved over used. Below it, calls cost twice their estimate and the pool gets 429s."""
ESTIMATE_RATIO_HIGH: Final = 4.0
"""Above it, three quarters of the reserved quota are idle until the response ends. A bucket bound of the histogram."""
ESTIMATE_WINDOW_SECONDS: Final = 1_800
ESTIMATE_LEAST: Final = 50
OVERHEAD_P99_SECONDS: Final = 0.05
"""Ten times the usual overhead. A bucket bound of the histogram."""
OVERHEAD_LEAST: Final = 5
LOOP_LAG_P99_SECONDS: Final = 0.1
"""Delays every call in the process by as much. A bucket bound of the histogram."""
SERVICE_WINDOW_SECONDS: Final = 300
RESTARTS_WINDOW_SECONDS: Final = 1_800
RESTARTS: Final = 3
"""Starts of one replica in the window. An upgrade, or a change of the configuration, is one."""
STORE_LATENCY_P99_SECONDS: Final = 0.1
"""Usual is below 10 ms; from 250 ms on, a replica is degraded. A bucket bound of the histogram."""
STORE_SLOW_LEAST: Final = 5
LEADER_CHANGES_WINDOW_SECONDS: Final = 1_800
LEADER_CHANGES: Final = 6
"""In the window. A rolling restart of five replicas changes the leader five times at most."""
LEADER_SILENT_SECONDS: Final = 10
"""Another replica takes over within 2 s, and each leader reports once a second."""
STORE_RETURN_WINDOW_SECONDS: Final = 120
"""A replica that finds the store again hears from a leader within seconds. A few scrapes must fit in."""
OLDEST_LEASE_SECONDS: Final = 1_800
"""Three times the default deadline of a call. No live call holds quota for so long."""
LEDGER_UNWRITTEN_SECONDS: Final = 60
"""Usage is written every half second; a restart of the database takes less than this."""
KEY_ENDS_SECONDS: Final = 7 * 86_400
"""Time for the owner of a key to rotate it."""
NO_TRAFFIC_WINDOW_SECONDS: Final = 1_800
NO_TRAFFIC_BEFORE_LEAST: Final = 10
"""Calls in the hour before, and at the same time of the previous day, that make silence suspicious."""

# --- Objectives -----------------------------------------------------------------------------------------------------

SLO_WINDOW_SECONDS: Final = 30 * 86_400
"""Period of the error budget."""
AVAILABILITY_TARGET: Final = 0.995
"""Share of calls that do not fail; excludes client errors and refusals. The upstream's availability bounds it, and
retries raise it."""
LATENCY_TARGET: Final = 0.95
"""Share of admissions, other than of class `batch`, within `LATENCY_OBJECTIVE_SECONDS`."""
LATENCY_OBJECTIVE_SECONDS: Final = 10.0
"""Wait for quota: the part of the latency that Tidegate controls. The same bound as the queue's warning."""
CALLER_WAIT_LONG_SECONDS: Final = 20.0
"""Waits of single callers above it are named in the alert of the latency. A bucket bound of the histogram, which has
few."""


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """One pair of windows of a burn-rate alert.

    Attributes:
        factor: burn rate: 1 spends the error budget in exactly its period.
        long_seconds: window that shows that the burn matters.
        short_seconds: window that shows that the burn continues.
        severity: `critical` pages, `warning` opens a ticket.
    """

    factor: float
    long_seconds: int
    short_seconds: int
    severity: str


BURN_WINDOWS: Final = (
    BurnWindow(14.4, 3_600, 300, "critical"),
    BurnWindow(6.0, 21_600, 1_800, "critical"),
    BurnWindow(3.0, 86_400, 7_200, "warning"),
    BurnWindow(1.0, 259_200, 21_600, "warning"),
)
"""2 %, 5 %, 10 % and 10 % of a 30-day budget. Source: Google, "The Site Reliability Workbook", chapter 5, table 5-8."""
BURN_LEAST_BAD: Final = 10
"""In the long window: one failure among three calls at night pages nobody."""
