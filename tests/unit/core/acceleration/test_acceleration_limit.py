"""A limit to how fast use may rise, in requests or in input tokens, learned from refusals for acceleration."""

import pytest

from tidegate.core.acceleration.acceleration_limit import AccelerationLimit
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S

MINUTE = 61 * S
"""Whatever the second in which the upstream begins to count, this is a minute later."""


@pytest.fixture
def limit() -> AccelerationLimit:
    return AccelerationLimit()


def use(limit: AccelerationLimit, now_ns: int, count: int, input_tokens: int = 0) -> None:
    """These were accepted."""
    limit.corrected(now_ns, count, count * input_tokens)
    limit.answered(now_ns)


def refuse(limit: AccelerationLimit, now_ns: int, input_tokens: int = 0) -> None:
    limit.refused(now_ns, now_ns, input_tokens)


def send(limit: AccelerationLimit, now_ns: int) -> int:
    """Sends as much as may be sent now; returns how much that was."""
    count = 0
    while limit.wait_ns(now_ns) == 0:
        limit.sent(now_ns)
        count += 1
    return count


def test_limits_nothing_before_the_upstream_refuses(limit: AccelerationLimit) -> None:
    use(limit, 0, 10_000, 1_000)
    assert not limit.is_known
    assert limit.wait_ns(0) == 0


def test_the_first_refusal_tells_what_may_always_be_sent(limit: AccelerationLimit) -> None:
    use(limit, 0, 100)
    refuse(limit, 0)
    assert limit.is_known
    limit.corrected(10 * MINUTE, 1, 0)
    assert send(limit, 10 * MINUTE) == 99 + 1, "and one more, gently: it was refused long ago"


def test_a_request_that_may_not_go_asks_again_in_a_quarter_of_a_second(limit: AccelerationLimit) -> None:
    use(limit, 0, 100)
    refuse(limit, 0)
    assert limit.wait_ns(S + 3) == S // 4 - 3


def test_growth_goes_gently_until_it_is_refused(limit: AccelerationLimit) -> None:
    use(limit, 0, 100)
    refuse(limit, 0)
    assert send(limit, MINUTE) == 105 + 1, "as much again, and one that tries"
    assert limit.wait_ns(MINUTE) == pytest.approx(S / (0.05 * 105), rel=1e-6)
    sent = sum(send(limit, MINUTE + tenth * S // 10) for tenth in range(1, 41))
    assert 18 <= sent <= 24, "a twentieth of the last minute's in a second"


def test_where_little_goes_one_a_second_is_gentle(limit: AccelerationLimit) -> None:
    use(limit, 0, 10)
    refuse(limit, 0)
    assert send(limit, MINUTE) == 10 + 1
    assert limit.wait_ns(MINUTE) == S


def test_a_factor_that_was_measured_holds_from_then_on(limit: AccelerationLimit) -> None:
    use(limit, 0, 100)
    refuse(limit, 0)
    use(limit, MINUTE, 150)
    refuse(limit, MINUTE)
    assert send(limit, 2 * MINUTE) == 225
    assert limit.wait_ns(2 * MINUTE) > 0


def test_of_few_the_one_that_was_refused_counts_once(limit: AccelerationLimit) -> None:
    use(limit, 0, 4)
    refuse(limit, 0)
    use(limit, MINUTE, 6)
    refuse(limit, MINUTE)
    assert send(limit, 2 * MINUTE) == 9, "half as much again; half-way to 7 of 4 is not one more"


def test_what_was_refused_was_no_use(limit: AccelerationLimit) -> None:
    use(limit, 0, 120)
    for _ in range(20):
        limit.corrected(0, -1, 0)
        refuse(limit, 0)
    limit.corrected(10 * MINUTE, 1, 0)
    assert send(limit, 10 * MINUTE) == 99 + 1


SIZES = (100, 60, 120, 50, 150, 80)


def grown(*, is_input: bool) -> AccelerationLimit:
    """Used half as much again each minute, in requests or in input tokens, and was refused at the end of each."""
    limit, allowed = AccelerationLimit(), 12_000
    for minute, size in enumerate(SIZES):
        use(limit, minute * MINUTE, allowed // (size if is_input else 100), size)
        refuse(limit, minute * MINUTE, size)
        allowed = allowed * 3 // 2
    return limit


def test_requests_are_believed_where_their_figures_agree_better() -> None:
    limit = grown(is_input=False)
    limit.corrected(6 * MINUTE, 1, 10_000_000)
    assert limit.wait_ns(6 * MINUTE, 1_000_000) == 0


def test_input_is_where_its_figures_do() -> None:
    limit = grown(is_input=True)
    limit.corrected(6 * MINUTE, 1, 1)
    assert limit.wait_ns(6 * MINUTE, 10_000_000) > 0
    limit.corrected(6 * MINUTE, 100_000, 0)
    assert limit.wait_ns(6 * MINUTE, 1) == 0


def test_a_small_contradiction_of_one_quantity_points_to_the_other() -> None:
    limit = AccelerationLimit()
    use(limit, 0, 100, 100)
    refuse(limit, 0, 100)
    use(limit, MINUTE, 150, 98)
    refuse(limit, MINUTE, 98)
    use(limit, 2 * MINUTE, 225, 100)  # 1.53 times the input of the minute before, where 1.48 times was refused
    assert limit.wait_ns(2 * MINUTE, 1) > 0, "so requests are meant, whatever input might still grow by"


class TestWhileThatIsOpen:
    """The floor is 100 requests, or 10,000 tokens."""

    @pytest.fixture
    def open_ramp(self, limit: AccelerationLimit) -> AccelerationLimit:
        use(limit, 0, 100, 100)
        refuse(limit, 0, 100)
        return limit

    def test_what_both_allow_goes(self, open_ramp: AccelerationLimit) -> None:
        open_ramp.corrected(MINUTE + 60 * S, 50, 5_000)
        assert open_ramp.wait_ns(MINUTE + 60 * S, 100) == 0

    def test_what_only_one_allows_goes_gently(self, open_ramp: AccelerationLimit) -> None:
        now_ns = MINUTE + 59 * S
        open_ramp.corrected(now_ns, 50, 20_000)
        assert open_ramp.wait_ns(now_ns, 100) == 0
        open_ramp.sent(now_ns, 100)
        assert open_ramp.wait_ns(now_ns, 100) == pytest.approx(S / (0.05 * 50))
        open_ramp.corrected(now_ns + S, 50, 0)
        assert open_ramp.wait_ns(now_ns + S, 100) > 0, "now both are used up"

    def test_what_both_allow_goes_at_once_also_after_one_that_tried(self, open_ramp: AccelerationLimit) -> None:
        now_ns = MINUTE + 59 * S
        open_ramp.sent(now_ns, 20_000)
        open_ramp.sent(now_ns, 100)
        assert open_ramp.wait_ns(now_ns, 100) > 0, "the input of the first counts"
        open_ramp.corrected(now_ns, 97, -20_000)
        assert open_ramp.wait_ns(now_ns, 100) == 0, "the hundredth"

    def test_what_one_allows_clearly_goes_up_to_three_per_cent_below(self, open_ramp: AccelerationLimit) -> None:
        now_ns = MINUTE + 59 * S
        open_ramp.corrected(now_ns, 96, 20_000)
        assert open_ramp.wait_ns(now_ns, 100) == 0

    def test_what_one_allows_only_just_does_not_go_up_to_three_per_cent_below(
        self, open_ramp: AccelerationLimit
    ) -> None:
        now_ns = MINUTE + 59 * S
        open_ramp.corrected(now_ns, 98, 20_000)
        assert open_ramp.wait_ns(now_ns, 100) > 0, "3 % more would be too many"

    def test_the_same_the_other_way_round(self, open_ramp: AccelerationLimit) -> None:
        now_ns = MINUTE + 59 * S
        open_ramp.corrected(now_ns, 150, 5_000)
        assert open_ramp.wait_ns(now_ns, 100) == 0
        open_ramp.corrected(now_ns, 0, 4_700)
        assert open_ramp.wait_ns(now_ns, 100) > 0
