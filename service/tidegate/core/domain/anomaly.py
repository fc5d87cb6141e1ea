"""What may be wrong with what the upstream, a clock or a caller tells; each is counted, and its effect bounded."""

from enum import StrEnum

__all__ = ["AnomalyKind"]


class AnomalyKind(StrEnum):
    """A fault that is not ours to mend."""

    LIMITS = "limits"
    """A limit header that cannot be: not a number, negative, more than the limit, a time that has passed. It is left
    out, and the others count."""
    LIMITS_MISSING = "limits_missing"
    """A Messages answer without limit headers: what is known stays, or the rate is searched."""
    RETRY_AFTER = "retry_after"
    """A `retry-after` other than seconds above 0 that a rate limit can last: the pool waits no longer than those, and
    then probes."""
    USAGE = "usage"
    """An answer whose usage is missing, cannot be read, or is more than a model can use: the estimate is charged for
    what is missing, and nothing is learned from it."""
    CLOCK = "clock"
    """Our clock stepped, or disagrees with the upstream's by a minute: dates are read by the upstream's, and no time
    passes backwards."""
    LEASE = "lease"
    """A lease that nobody ended: the estimate is charged, and what it held is free again."""
