"""Steps of a search for a rate, at seconds since its beginning."""

from typing import Final

from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_search import RateSearch

BEGAN_NS: Final = 1_000 * NS_PER_SECOND
"""No clock begins with the search."""


def ns(seconds: float) -> int:
    """That moment."""
    return BEGAN_NS + round(seconds * NS_PER_SECOND)


def send(search: RateSearch, count: int, *, from_s: float, to_s: float, cost: Cost = ONE_REQUEST) -> None:
    """That many, evenly, after one moment and until another; all are answered at once."""
    for number in range(1, count + 1):
        search.sent(cost, ns(from_s + (to_s - from_s) * number / count))
        search.ended()


def refuse(
    search: RateSearch, at_s: float, retry_after_s: int | None = 1, pause_s: float = 1, needed: Cost = ONE_REQUEST
) -> None:
    """One more is sent, and refused."""
    at_ns, after_ns = ns(at_s), None if retry_after_s is None else retry_after_s * NS_PER_SECOND
    search.sent(ONE_REQUEST, at_ns)
    search.corrected(Cost().minus(ONE_REQUEST))
    search.ended()
    pause_ns = round(pause_s * NS_PER_SECOND)
    search.refused(at_ns, at_ns, retry_after_ns=after_ns, pause_ns=pause_ns, needed=needed)


def rate(search: RateSearch, at_s: float) -> float:
    """What is tried then, in whatever dimension."""
    (found,) = (each for each in search.per_second(ns(at_s)) if each is not None)
    return found


def grown(burst: int = 500) -> RateSearch:
    """Refused at 10 s after a burst; far above the rate by then."""
    search = RateSearch(ns(0))
    for second in range(10):
        send(search, burst // 10, from_s=second, to_s=second + 1)
        rate(search, second + 1)
    refuse(search, 10)
    return search
