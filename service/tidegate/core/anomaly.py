"""What may be wrong with what the upstream, a clock or a caller tells; each is counted, and its effect bounded."""

from enum import StrEnum

__all__ = ["AnomalyKind"]


class AnomalyKind(StrEnum):
    """A fault that is not ours to mend."""

    LEASE = "lease"
    """A lease that nobody ended: the estimate is charged, and what it held is free again."""
