"""Decides which responses update a pool's limits."""

from typing import Final

from msgspec import structs

from tidegate.core.claude.rate_limit_groups import is_fast_pool
from tidegate.core.claude.rate_limit_headers import read_limits
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.transport import Headers
from tidegate.engine.admission import Lease
from tidegate.gateway.forwarded_headers import limit_headers

__all__ = ["LimitUpdates"]

_INTERVAL_NS: Final = 20_000_000
"""Reading the headers takes half as long as everything else that the gateway does for a call. Within 20 ms they say the
same: a level changes by what is refilled in this time, and requests overtake each other by as much on their way."""
_MAX_POOLS: Final = 1_000


class LimitUpdates:
    """Reads the limits in response heads: under load from one response per pool every 20 ms.

    As long as a pool's responses report no limits, each of them is read.
    """

    def __init__(self) -> None:
        self._updated_ns: dict[str, int] = {}

    def are_due(self, pool: str, now_ns: int) -> bool:
        """Whether the next response should be read."""
        return now_ns - self._updated_ns.get(pool, -_INTERVAL_NS) >= _INTERVAL_NS

    def of_response(self, lease: Lease, headers: Headers, sent_ago_ns: int, clock: Clock) -> LimitReport:
        """The report for a response with these headers. It has limits only if an update is due."""
        if not self.are_due(lease.pool, clock.monotonic_ns()):
            return LimitReport(sent_ago_ns=sent_ago_ns, lease_id=lease.id)
        return structs.replace(self._read(lease.pool, headers, clock), sent_ago_ns=sent_ago_ns, lease_id=lease.id)

    def of_error(self, pool: str, headers: Headers, sent_ago_ns: int, clock: Clock) -> LimitReport | None:
        """The report for an error response; None if it has no limits."""
        report = self._read(pool, headers, clock)
        return structs.replace(report, sent_ago_ns=sent_ago_ns, answered=False) if any(report.dimensions) else None

    def note(self, pool: str, now_ns: int) -> None:
        """Records that the pool's limits were updated."""
        if len(self._updated_ns) >= _MAX_POOLS:
            self._updated_ns.clear()
        self._updated_ns[pool] = now_ns

    def _read(self, pool: str, headers: Headers, clock: Clock) -> LimitReport:
        report = read_limits(limit_headers(headers), clock.wall_seconds(), fast=is_fast_pool(pool))
        if any(report.dimensions):
            self.note(pool, clock.monotonic_ns())
        return report
