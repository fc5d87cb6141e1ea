"""Parameters of the rate search."""

from dataclasses import dataclass
from typing import Final

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearchSettings"]

START_PER_SECOND: Final = 2.0
"""First rate of a Messages pool, of which nothing is known."""
ENDPOINT_PER_SECOND: Final = 16.0
"""First rate of other endpoints: the lowest published limit, 1,000 requests per minute (batches, Start tier)."""


@dataclass(frozen=True, slots=True)
class RateSearchSettings:
    """Parameters of `RateSearch`. "Trial" means a step to a higher rate.

    Attributes:
        growth_per_second: growth of the rate before the first 429, and until a rate is measured.
        growth_per_request: bound of that growth after the first 429: an admitted request proves no more.
        most_cut: a 429 cuts the rate to no less than this share. Growth has overshot by an unknown factor, or output
            that is in flight still drains the bucket.
        most_below: the rate of output stays below the measured rate by up to this share, because it is uncertain.
        least_per_second: lowest rates, by dimension.
        most_per_second: highest rates, by dimension: no upstream grants as much. A rate above demand is never refused,
            and would grow forever.
        trial_share: usual step of a trial, and the largest step above a measured rate.
        largest_trial: largest step of a trial.
        every_seconds: one 429 in this time is an acceptable cost of measuring.
        every_requests: one 429 in this many requests is an acceptable cost: seven in a thousand responses.
        least_patience: a trial takes at least this share of `every_seconds`. Earlier, it cannot have shown anything.
        least_requests: a trial takes at least this many requests.
        early: a 429 after less than this share of the expected requests: the rate was more than a little too high.
        part_of_way: how far a trial goes from the present rate to one that was too high: two of three are admitted.
        least_step: a rate that was too high and is nearer than this is not worth a 429.
        least_uncertainty: smallest uncertainty of a measured rate.
        well_measured: at this uncertainty the depth of the bucket is computed for good.
        poorly_measured: largest uncertainty, after guesses and large cuts.
        vague: share of a request's tokens that is unknown: input was estimated, output is reported late.
        lossy_trials: after this many trials without a 429 a shallow bucket was full for long. Then the use is only what
            was tried, and shows no dimension.
        most_vain: each refused trial that shows nothing new, after the first, halves the frequency of trials. After
            this many, trials are as rare as those of the best measured rates.
        enough_requests: over fewer requests, sizes vary too much to show which dimension is limited.
        contradiction_seconds: if nothing was used in a dimension for longer than rounding explains, and the wait goes
            on, another dimension is limited.
        plausible: share of the usual output rate below which output is taken for unreported so far.
        forget: factor of the highest recent rate at each measurement.
        largest_bucket_seconds: no bucket holds more than this.
    """

    growth_per_second: float = 1.6
    growth_per_request: float = 1.15
    most_cut: float = 0.25
    most_below: float = 0.03
    least_per_second: tuple[float, float, float] = (0.05, 1.0, 1.0)
    most_per_second: tuple[float, float, float] = (1e5, 1e9, 1e9)
    trial_share: float = 0.04
    largest_trial: float = 0.6
    every_seconds: int = 20
    every_requests: int = 150
    least_patience: float = 0.1
    least_requests: int = 3
    early: float = 0.5
    part_of_way: float = 1 / 3
    least_step: float = 0.011
    least_uncertainty: float = 0.01
    well_measured: float = 0.1
    poorly_measured: float = 0.5
    vague: float = 0.5
    lossy_trials: int = 2
    most_vain: int = 8
    enough_requests: int = 10
    contradiction_seconds: float = 2.0
    plausible: float = 0.25
    forget: float = 0.9
    largest_bucket_seconds: int = 60
