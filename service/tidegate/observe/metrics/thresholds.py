"""Where good ends: the numbers that alert rules and panels share, so that a red panel and a firing alert agree.

The rules of `deploy/prometheus` and the dashboards are generated from these; each number is written here only. Shares
are fractions of 1; windows are what a rate is taken over.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["BURN_WINDOWS", "BurnWindow"]

# --- Rate limits of the upstream ------------------------------------------------------------------------------------

RATE_LIMITED_WINDOW_SECONDS: Final = 600
"""Long enough that one 429 among many answers is no spike."""
RATE_LIMITED_RECENT_SECONDS: Final = 120
"""Second window: a spike that is over ends the alert within minutes."""
RATE_LIMITED_SHARE_WARNING: Final = 0.05
"""Of all attempts. A limiter that knows the limits sees next to none: at one in twenty it does not know them."""
RATE_LIMITED_SHARE_CRITICAL: Final = 0.25
"""Every fourth attempt is wasted: something else spends the same quota, or a limit was cut."""
RATE_LIMITED_LEAST: Final = 5
"""429s within the window before a share means anything: three calls at night are no spike."""

POOL_FROZEN_WINDOW_SECONDS: Final = 900
POOL_FROZEN_SHARE: Final = 0.5
"""Of the window. A 429 closes a pool for seconds; closed half of the time, it can use half of its quota at best."""

ADAPTIVE_FACTOR_LOW: Final = 0.5
"""429s have cut the rate to half and successes have not won it back."""
ADAPTIVE_FACTOR_LOW_SECONDS: Final = 1_800
"""At the default recovery, a factor of 0.5 needs 50 successes to be 1 again: minutes, not half an hour."""

LIMIT_MISMATCH_SHARE: Final = 0.02
"""By how much a configured limit may exceed the reported one; the upstream rounds its figures."""

# --- Quota ----------------------------------------------------------------------------------------------------------

QUOTA_USED_RUNS_OUT: Final = 1.0
"""Share of the upstream's limit that is used: beyond it callers wait, and the queue only grows."""
QUOTA_TREND_SECONDS: Final = 3_600
"""The growth of use is read off the last hour: shorter swings are bursts."""
QUOTA_AHEAD_SECONDS: Final = 1_800
"""How far ahead use is predicted: time enough to ask for a higher limit or to stop a batch job."""
QUOTA_USED_RISKY: Final = 0.6
"""Below this share no trend is believed: a day's first calls grow without bound from nothing."""
QUOTA_UNUSED_SHARE: Final = 0.5
"""Half of the quota lies idle while callers wait: a limit of our own, or the adaptive factor, is too low."""
QUOTA_UNUSED_WINDOW_SECONDS: Final = 900

# --- Queue and refusals ---------------------------------------------------------------------------------------------

QUEUE_WAIT_WINDOW_SECONDS: Final = 300
QUEUE_WAIT_P95_WARNING_SECONDS: Final = 10.0
"""For classes other than `batch`, which is made to wait. People notice; a bucket bound of the histogram."""
QUEUE_WAIT_P95_CRITICAL_SECONDS: Final = 60.0
"""Clients with the usual timeout of one minute give up; a bucket bound, too."""
QUEUE_WAIT_LEAST: Final = 5
"""Admissions within the window that waited too long, before a percentile means anything."""
QUEUE_GROWTH_PER_MINUTE: Final = 1.0
"""Waiters that come to more than leave, over the window below."""
QUEUE_GROWTH_WINDOW_SECONDS: Final = 900
QUEUE_GROWING_DEPTH: Final = 20
"""Fewer waiters are gone in a moment, however fast they came."""
STARVED_WINDOW_SECONDS: Final = 900
"""A class that waits this long without one admission, while others are admitted, is starved."""

REFUSED_WINDOW_SECONDS: Final = 600
REFUSED_RECENT_SECONDS: Final = 120
REFUSED_SHARE: Final = 0.05
"""Of all calls, for one cause: more than one in twenty is no accident of a single caller."""
REFUSED_LEAST: Final = 10
"""Refusals within the window before a share means anything."""

# --- Upstream -------------------------------------------------------------------------------------------------------

UPSTREAM_WINDOW_SECONDS: Final = 600
UPSTREAM_RECENT_SECONDS: Final = 120
UPSTREAM_LEAST: Final = 5
"""Failures, or slow streams, within the window before a share or a percentile means anything."""
OVERLOADED_SHARE_WARNING: Final = 0.1
"""529s among attempts: retries still hide most of them from callers."""
OVERLOADED_SHARE_CRITICAL: Final = 0.5
"""With five attempts, one call in thirty fails outright, and all others take far longer."""
UPSTREAM_ERROR_SHARE_WARNING: Final = 0.05
"""5xx other than 529, and attempts without any answer; normal is below one in a thousand."""
UPSTREAM_ERROR_SHARE_CRITICAL: Final = 0.5
FIRST_TOKEN_P95_SECONDS: Final = 10.0
"""Streams begin within a few seconds, thinking aside; a bucket bound of the histogram."""

# --- Money ----------------------------------------------------------------------------------------------------------

SPEND_UNUSUAL_FACTOR: Final = 3.0
"""Times the average hour of the day before."""
SPEND_UNUSUAL_LEAST_USD_PER_HOUR: Final = 10.0
"""Less is not worth waking anybody for."""
SPEND_WINDOW_SECONDS: Final = 3_600
SPEND_BASELINE_SECONDS: Final = 86_400
SPEND_WEEK_SECONDS: Final = 7 * 86_400
"""What was usual a week ago at the same hour is usual: a Monday is no Sunday."""

# --- The service itself ---------------------------------------------------------------------------------------------

ESTIMATE_RATIO_LOW: Final = 0.5
"""Median of reserved over used: below, calls cost twice their estimate, and the pool runs into 429s."""
ESTIMATE_RATIO_HIGH: Final = 4.0
"""Above, three quarters of what is reserved lies idle until the answer ends; a bucket bound of the histogram."""
ESTIMATE_WINDOW_SECONDS: Final = 1_800
ESTIMATE_LEAST: Final = 50
"""Settled leases within the window before a median means anything."""
OVERHEAD_P99_SECONDS: Final = 0.05
"""Our own time in a call, ten times what it usually is; a bucket bound of the histogram."""
OVERHEAD_LEAST: Final = 5
"""Calls within the window that took us too long, before a percentile means anything."""
LOOP_LAG_P99_SECONDS: Final = 0.1
"""Every call in the process is late by this much; a bucket bound of the histogram."""
SERVICE_WINDOW_SECONDS: Final = 300
OLDEST_LEASE_SECONDS: Final = 1_800
"""Three times the default deadline of a call: nothing that is still alive holds quota for so long."""
NO_TRAFFIC_WINDOW_SECONDS: Final = 1_800
NO_TRAFFIC_BEFORE_LEAST: Final = 10
"""Calls in the hour before, and at the same time of the day before, that make silence remarkable."""

# --- Objectives -----------------------------------------------------------------------------------------------------

SLO_WINDOW_SECONDS: Final = 30 * 86_400
"""The error budget is for 30 days."""
AVAILABILITY_TARGET: Final = 0.995
"""Share of calls that are answered; callers that were rightly refused, or whose call was wrong, do not count. The
upstream's own availability bounds it, retries lift it."""
LATENCY_TARGET: Final = 0.95
"""Share of admissions, other than of class `batch`, within `LATENCY_OBJECTIVE_SECONDS`."""
LATENCY_OBJECTIVE_SECONDS: Final = 10.0
"""Wait for quota: the part of a call's latency that Tidegate decides on. The same bound as the queue's warning."""


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """One pair of windows of a burn-rate alert.

    Attributes:
        factor: how many times faster than evenly the error budget is spent.
        long_seconds: window that says that it matters.
        short_seconds: window that says that it still goes on.
        severity: `critical` wakes somebody, `warning` makes a ticket.
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
"""Bad calls in the long window before a share means anything: one failure among three calls at night wakes nobody."""
