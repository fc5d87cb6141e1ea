"""What answers teach a pool of its limits: under load not each one, for the next says the same a moment later."""

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

_EVERY_NS: Final = 20_000_000
"""A level is off by what is refilled in this time, at most, and requests overtake each other by as much on their way.
Reading headers, and learning from them, costs as much as half of all else that a call takes here."""
_MAX_POOLS: Final = 1_000


class LimitUpdates:
    """Remembers when a pool has last learned its limits from an answer."""

    def __init__(self) -> None:
        self._learned_ns: dict[str, int] = {}

    def are_due(self, pool: str, now_ns: int) -> bool:
        """Whether the pool should learn again. One that has not found limits in answers learns from each."""
        return now_ns - self._learned_ns.get(pool, -_EVERY_NS) >= _EVERY_NS

    def of_answer(self, lease: Lease, headers: Headers, sent_ago_ns: int, clock: Clock) -> LimitReport:
        """What the head of an answer teaches: of limits only if that is due."""
        if not self.are_due(lease.pool, clock.monotonic_ns()):
            return LimitReport(sent_ago_ns=sent_ago_ns, lease_id=lease.id)
        return structs.replace(self._read(lease.pool, headers, clock), sent_ago_ns=sent_ago_ns, lease_id=lease.id)

    def of_error(self, pool: str, headers: Headers, sent_ago_ns: int, clock: Clock) -> LimitReport | None:
        """What an error says of limits; None where it says nothing, which is no news of an error."""
        report = self._read(pool, headers, clock)
        return structs.replace(report, sent_ago_ns=sent_ago_ns, answered=False) if any(report.dimensions) else None

    def _read(self, pool: str, headers: Headers, clock: Clock) -> LimitReport:
        report = read_limits(limit_headers(headers), clock.wall_seconds(), fast=is_fast_pool(pool))
        if any(report.dimensions):
            self.learned(pool, clock.monotonic_ns())
        return report

    def learned(self, pool: str, now_ns: int) -> None:
        """The pool has learned limits from an answer."""
        if len(self._learned_ns) >= _MAX_POOLS:
            self._learned_ns.clear()
        self._learned_ns[pool] = now_ns
