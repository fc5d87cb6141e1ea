"""What answers teach a pool of its limits: under load not each one, for the next says the same a moment later."""

from collections.abc import Callable
from typing import Final

from tidegate.core.headers import LimitReport, read_limits
from tidegate.core.transport import Headers
from tidegate.core.usage import Usage
from tidegate.engine.admission import Admission, Lease
from tidegate.gateway.headers import limit_headers
from tidegate.gateway.opened import OpenedAnswer

__all__ = ["Lessons"]

_EVERY_NS: Final = 5_000_000
"""A level is off by what is refilled in this time, at most; reading headers costs what all else in the limiter does."""
_MOST_POOLS: Final = 1_000


class Lessons:
    """Remembers when a pool has last learned its limits from an answer."""

    def __init__(self) -> None:
        self._learned_ns: dict[str, int] = {}

    def are_due(self, pool: str, now_ns: int) -> bool:
        """Whether the pool should learn again. One that has not found limits in answers learns from each."""
        return now_ns - self._learned_ns.get(pool, -_EVERY_NS) >= _EVERY_NS

    def learned(self, pool: str, now_ns: int) -> None:
        """The pool has learned limits from an answer."""
        if len(self._learned_ns) >= _MOST_POOLS:
            self._learned_ns.clear()
        self._learned_ns[pool] = now_ns

    async def teach(
        self,
        admission: Admission,
        pool: str,
        headers: Headers,
        sent_ago_ns: int,
        *,
        answered: bool,
        lease_id: str = "",
    ) -> None:
        """Tells a pool what headers say; that an answer says nothing is worth knowing too."""
        report = read_limits(limit_headers(headers), admission.clock.wall_seconds())
        tells = any(report.dimensions)
        if tells:
            self.learned(pool, admission.clock.monotonic_ns())
        if tells or answered:
            report = report._replace(sent_ago_ns=sent_ago_ns, answered=answered, lease_id=lease_id)
            await admission.store.learn(pool, report)

    async def teach_answer(
        self,
        admission: Admission,
        lease: Lease,
        answer: OpenedAnswer,
        used: Callable[[], Usage | None],
        started_ns: int,
    ) -> None:
        """Tells a pool of an answer whose head has come, and what the head says of limits if that is due.

        `used` says what it has used so far.
        """
        now_ns = admission.clock.monotonic_ns()
        is_due = self.are_due(lease.pool, now_ns)
        # What the headers say counts the true input, so our level has to count it as well. But an answer that is here
        # whole is charged in a moment anyway.
        if (is_due or not answer.response.at_end) and (usage := used()) is not None:
            await lease.charge(usage.cost())
        if is_due:
            headers = answer.response.headers
            await self.teach(admission, lease.pool, headers, now_ns - started_ns, answered=True, lease_id=lease.id)
        else:
            await admission.store.learn(lease.pool, LimitReport(sent_ago_ns=now_ns - started_ns, lease_id=lease.id))
