"""What one response reports about the limits of its pool."""

from typing import NamedTuple

from msgspec import Struct

from tidegate.core.domain.anomaly import AnomalyKind

__all__ = ["DimensionReport", "LimitReport"]


class DimensionReport(NamedTuple):
    """What the headers say of one dimension: the limit a minute, what is left, and in how long it is all back."""

    per_minute: int
    remaining: int | None = None
    full_in_ns: int | None = None


class LimitReport(Struct, frozen=True, gc=False):
    """What one answer says about its pool; dimensions without a usable limit are absent."""

    requests: DimensionReport | None = None
    input_tokens: DimensionReport | None = None
    output_tokens: DimensionReport | None = None
    sent_ago_ns: int = 0
    """Age of the request that was answered: when the figures were true is somewhere in that time."""
    answered: bool = True
    """Whether it was a real answer, and no error that happens to have these headers."""
    lease_id: str = ""
    """The lease of the request that was answered."""
    faults: tuple[AnomalyKind, ...] = ()
    """What cannot be about its headers."""

    @property
    def dimensions(self) -> tuple[DimensionReport | None, ...]:
        """The reports in the order of `DIMENSIONS`."""
        return self.requests, self.input_tokens, self.output_tokens
