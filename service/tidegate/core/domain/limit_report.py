"""The limits that one response reports."""

from typing import NamedTuple

from msgspec import Struct

from tidegate.core.domain.anomaly import AnomalyKind

__all__ = ["DimensionReport", "LimitReport"]


class DimensionReport(NamedTuple):
    """The headers of one dimension: the limit per minute, the remainder, and the time until it is full again."""

    per_minute: int
    remaining: int | None = None
    full_in_ns: int | None = None


class LimitReport(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The limits that one answer reports. Dimensions without a usable limit are None."""

    requests: DimensionReport | None = None
    input_tokens: DimensionReport | None = None
    output_tokens: DimensionReport | None = None
    sent_ago_ns: int = 0
    """Age of the answered request. The figures were true at some moment in that time."""
    answered: bool = True
    """Whether it was a good answer, and not an error with these headers."""
    lease_id: str = ""
    """The lease of the answered request."""
    faults: tuple[AnomalyKind, ...] = ()
    """Faults of its headers."""

    @property
    def dimensions(self) -> tuple[DimensionReport | None, ...]:
        """The reports in the order of `DIMENSIONS`."""
        return self.requests, self.input_tokens, self.output_tokens
