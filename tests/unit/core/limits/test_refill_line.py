"""Which reports the dump of a refill line keeps."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.refill_line import RefillLine

APART_NS = S // 20


def line_of(count: int) -> RefillLine:
    """Reports of a bucket that gains 200 units per second."""
    line = RefillLine()
    for number in range(count):
        line.observe(number * APART_NS, 10 * number, 0)
    return line


def test_a_dump_keeps_up_to_64_reports() -> None:
    assert line_of(64).dump(63 * APART_NS).points == tuple(((63 - n) * APART_NS, 10.0 * n) for n in range(64))


def test_a_dump_of_more_reports_keeps_an_even_selection_that_ends_with_the_newest() -> None:
    line, now_ns = line_of(127), 126 * APART_NS
    state = line.dump(now_ns)
    assert state.points == tuple(((126 - n) * APART_NS, 10.0 * n) for n in range(0, 127, 2))
    assert RefillLine.restore(state, 0).taken_per_second(300.0) == pytest.approx(line.taken_per_second(300.0)) == 100
