"""Few requests that find out something: one, then more each time that none of them is refused."""

import pytest

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.prober import Prober

REFUSALS_TAKE_NS = S // 10


def waves(prober: Prober, count: int) -> list[int]:
    """How many go at a time, as long as nothing comes of them; all as soon as they may."""
    now_ns, sent = S, []
    for _ in range(count):
        sent.append(0)
        while not prober.wait_ns(now_ns):
            prober.sent(now_ns)
            sent[-1] += 1
        now_ns += prober.wait_ns(now_ns)
    return sent


@pytest.mark.parametrize(("is_bounded", "sent"), [(False, [1, 2, 4, 8]), (True, [1, 4, 16, 64])])
def test_more_go_each_time_that_none_is_refused(*, is_bounded: bool, sent: list[int]) -> None:
    prober = Prober(0)
    prober.begin(S, S - REFUSALS_TAKE_NS, is_bounded=is_bounded)
    assert waves(prober, 4) == sent


def test_one_goes_at_a_time_where_an_answer_has_to_tell() -> None:
    prober = Prober(0)
    prober.begin(S)
    assert waves(prober, 3) == [1, 1, 1]


def test_it_begins_anew_with_one_and_forgets_what_was_bounded() -> None:
    prober = Prober(0)
    prober.begin(S, S - REFUSALS_TAKE_NS, is_bounded=True)
    waves(prober, 2)
    prober.begin(S, S - REFUSALS_TAKE_NS)
    assert waves(prober, 3) == [1, 2, 4]
