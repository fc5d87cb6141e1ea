"""A limit whose bucket the upstream tells of with each answer: 100 a second, and it holds 6,000."""

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes

PER_MINUTE = 6_000  # 100 a second
CAPACITY = 6_000


def report(remaining: int) -> DimensionReport:
    """Of a bucket that holds 6,000: `reset` is rounded up to seconds, by half of one on average."""
    return DimensionReport(PER_MINUTE, remaining, (CAPACITY - remaining) * S // 100 + S // 2)


def begun(remaining: int, dimension: Dimension = Dimension.REQUESTS) -> DimensionLimit:
    """A limit with a first report at 0 s."""
    made = DimensionLimit(dimension, FixedWindowVotes())
    made.observe(report(remaining), sent_ago_ns=0, outstanding=0, now_ns=0)
    return made


def learn(made: DimensionLimit, remaining: int, now_ns: int, sent_ago_ns: int = 0, outstanding: int = 0) -> None:
    made.observe(report(remaining), sent_ago_ns, outstanding, now_ns)


def learn_figure(made: DimensionLimit, remaining: int, now_ns: int, sent_ago_ns: int = 0, outstanding: int = 0) -> None:
    """Of an answer that does not say when all is back."""
    made.observe(DimensionReport(PER_MINUTE, remaining), sent_ago_ns, outstanding, now_ns)


def level(made: DimensionLimit, now_ns: int) -> float:
    return made.snapshot(now_ns).available or 0.0
