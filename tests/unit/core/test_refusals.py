"""What two refusals measure, and how well."""

import pytest

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.dimension import Cost
from tidegate.core.refusals import Mark, measure


def mark(at_s: float, requests: int, *, told: bool = True, pause_s: float = 1.0) -> Mark:
    return Mark(round(at_s * S), Cost(requests, 100 * requests, 10 * requests), told, round(pause_s * S))


def test_one_alone_measures_nothing() -> None:
    assert measure([], mark(10, 100), shallow=False) is None


def test_what_was_used_by_the_time_between() -> None:
    found = measure([mark(0, 0), mark(10, 100)], mark(30, 200), shallow=False)
    assert found is not None
    assert found.per_second == (5, 500, 50)
    assert (found.moved.requests, found.seconds, found.lately) == (100, 20, 100)
    assert found.doubts == pytest.approx((0.05, 0.05 + 0.25 / 100, 0.05)), "a second of twenty; input was estimated"


def test_one_that_is_too_near_is_passed_over() -> None:
    found = measure([mark(0, 0), mark(28, 150)], mark(30, 200), shallow=False)
    assert found is not None
    assert (found.seconds, found.lately) == (30, 50)


def test_the_oldest_has_to_do_where_all_are_near() -> None:
    found = measure([mark(26, 0), mark(28, 10)], mark(30, 20), shallow=False)
    assert found is not None
    assert (found.seconds, found.doubts[0]) == (4, 0.25)


def test_without_being_told_a_request_may_have_been_missing_and_shallow_buckets_lose_pauses() -> None:
    marks = [mark(0, 0, told=False, pause_s=2)]
    deep = measure(marks, mark(20, 50, told=False), shallow=False)
    shallow = measure(marks, mark(20, 50, told=False), shallow=True)
    assert deep is not None
    assert shallow is not None
    assert deep.doubts == pytest.approx((0.02, 0.02, 0.02))
    assert shallow.doubts[0] == pytest.approx(0.1 + 0.02)
