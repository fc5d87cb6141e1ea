"""Few requests that find out something: one, then more each time that none of them is refused."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.probing import Probing

REFUSALS_TAKE_NS = S // 10


def waves(prober: Probing, count: int, now_ns: int = S) -> list[int]:
    """How many go at a time, as long as nothing comes of them; all as soon as they may."""
    sent = []
    for _ in range(count):
        sent.append(0)
        while not prober.wait_ns(now_ns):
            prober.sent(now_ns)
            sent[-1] += 1
        now_ns += prober.wait_ns(now_ns)
    return sent


@pytest.mark.parametrize(("is_bounded", "sent"), [(False, [1, 2, 4, 8]), (True, [1, 4, 16, 64])])
def test_more_go_each_time_that_none_is_refused(*, is_bounded: bool, sent: list[int]) -> None:
    prober = Probing(0)
    prober.refused(S, S - REFUSALS_TAKE_NS, waves=True, is_bounded=is_bounded)
    assert waves(prober, 4) == sent


def test_one_goes_at_a_time_where_an_answer_has_to_tell() -> None:
    prober = Probing(0)
    prober.refused(S, S, waves=False)
    assert waves(prober, 3) == [1, 1, 1]


def test_it_begins_anew_with_one_and_forgets_what_was_bounded() -> None:
    prober = Probing(0)
    prober.refused(S, S - REFUSALS_TAKE_NS, waves=True, is_bounded=True)
    waves(prober, 2)
    prober.refused(9 * S, 9 * S - REFUSALS_TAKE_NS, waves=True)
    assert waves(prober, 3, 9 * S) == [1, 2, 4]


def test_a_refusal_of_an_older_request_changes_nothing() -> None:
    prober = Probing(0)
    prober.refused(S, S - REFUSALS_TAKE_NS, waves=True)
    prober.sent(S)
    prober.refused(S + 1, S - REFUSALS_TAKE_NS, waves=True)
    assert prober.wait_ns(S + 1) == 2 * REFUSALS_TAKE_NS - 1
    assert prober.answered(S), "the probe was sent after the refusal that began the probing"


def test_at_the_start_one_goes_each_quarter_of_a_second() -> None:
    prober = Probing(0)
    prober.start(0)
    assert waves(prober, 3, 0) == [1, 1, 1]
    assert prober.wait_ns(S // 2) == S // 4


@pytest.mark.parametrize(("refill_ns", "gap_ns"), [(0, S // 4), (S // 10, S // 10), (3 * S, S // 4)])
def test_at_the_start_nothing_goes_faster_than_a_configured_rate(refill_ns: int, gap_ns: int) -> None:
    prober = Probing(0)
    prober.start(0)
    prober.sent(0, refill_ns)
    assert prober.wait_ns(0) == gap_ns


def test_starting_while_it_probes_changes_nothing() -> None:
    prober = Probing(0)
    prober.refused(S, S, waves=False)
    prober.sent(S)
    prober.start(2 * S)
    assert prober.wait_ns(2 * S) == S
