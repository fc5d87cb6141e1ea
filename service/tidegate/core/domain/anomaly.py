"""Faulty input from the upstream, a clock or a caller. Each fault is counted, and its effect is bounded."""

from enum import StrEnum

__all__ = ["AnomalyKind"]


class AnomalyKind(StrEnum):
    """A fault that Tidegate cannot repair."""

    LIMITS = "limits"
    """An impossible limit header: not a number, negative, more than the limit, or a time that has passed. It is
    ignored, and the others count."""
    LIMITS_MISSING = "limits_missing"
    """A Messages answer without limit headers. Known limits stay, or the rate is searched."""
    RETRY_AFTER = "retry_after"
    """A `retry-after` other than a positive number of seconds within the duration of a rate limit. The pool waits no
    longer than that duration, and then probes."""
    USAGE = "usage"
    """An answer whose usage is missing, unreadable, or more than a model can use. The estimate is charged for the
    missing part, and nothing is learned from it."""
    CLOCK = "clock"
    """Our clock stepped, or differs from the upstream's by a minute. Dates are read by the upstream's, and time never
    goes back."""
    LEASE = "lease"
    """A lease that nobody ended. The estimate is charged, and its quota is free again."""
    STEP = "step"
    """A step of another process that the pools could not apply, because of a defect. It is skipped."""
