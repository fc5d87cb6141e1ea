"""Fixed windows are told from a continuous refill by the moment at which all is back."""

import pytest

from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.fixed_window import FixedWindow, FixedWindowVotes

PER_MINUTE = 6_000  # 100 a second


def report(remaining: int | None, full_in_ns: int | None) -> DimensionReport:
    return DimensionReport(PER_MINUTE, remaining, full_in_ns)


@pytest.fixture
def votes() -> FixedWindowVotes:
    return FixedWindowVotes()


@pytest.fixture
def fixed(votes: FixedWindowVotes) -> FixedWindow:
    """A window that is known to be fixed, and to end at 60 s."""
    window = FixedWindow(votes)
    for second, remaining in ((10, 5_000), (20, 4_000), (30, 3_000)):
        window.observe(report(remaining, (60 - second) * S), second * S)
    return window


class TestVotes:
    def test_two_in_agreement_decide(self, votes: FixedWindowVotes) -> None:
        votes.observe(fixed=True)
        assert not votes.is_fixed
        votes.observe(fixed=True)
        assert votes.is_fixed

    def test_one_that_contradicts_changes_nothing_two_do_after_they_made_up_for_it(
        self, votes: FixedWindowVotes
    ) -> None:
        for _ in range(10):
            votes.observe(fixed=True)
        for _ in range(3):
            votes.observe(fixed=False)
            assert votes.is_fixed
        votes.observe(fixed=False)
        assert not votes.is_fixed

    def test_are_those_of_all_dimensions(self, votes: FixedWindowVotes) -> None:
        windows = FixedWindow(votes), FixedWindow(votes)
        for window in windows:
            window.observe(report(5_000, 50 * S), 10 * S)
            window.observe(report(4_000, 40 * S), 20 * S)
        assert [window.is_fixed for window in windows] == [True, True]


class TestTelling:
    def test_a_restored_window_compares_the_next_report_with_the_last_one(self, votes: FixedWindowVotes) -> None:
        window = FixedWindow(votes)
        window.observe(report(5_000, 50 * S), 10 * S)
        restored = FixedWindow.restore(window.dump(10 * S), 0, votes)
        for second, remaining in ((10, 4_000), (20, 3_000)):
            restored.observe(report(remaining, (50 - second) * S), second * S)
        assert restored.is_fixed

    def test_a_reset_that_stands_still_while_much_is_used_is_a_windows_end(self, fixed: FixedWindow) -> None:
        assert fixed.is_fixed
        assert fixed.ends_ns == 60 * S

    def test_one_that_moves_on_with_what_is_used_is_not(self, votes: FixedWindowVotes) -> None:
        window = FixedWindow(votes)
        for second, remaining in ((10, 5_000), (20, 4_000), (30, 3_000), (40, 2_000)):
            window.observe(report(remaining, (PER_MINUTE - remaining) // 100 * S), second * S)
        assert not window.is_fixed

    @pytest.mark.parametrize(("moved_ns", "is_fixed"), [(S, True), (S + S // 2, False)])
    def test_rounding_to_seconds_may_move_it_by_one(
        self, votes: FixedWindowVotes, moved_ns: int, *, is_fixed: bool
    ) -> None:
        window = FixedWindow(votes)
        for number in range(3):
            window.observe(report(5_000 - 1_000 * number, 30 * S + moved_ns * number), 0)
        assert window.is_fixed is is_fixed

    @pytest.mark.parametrize(("used", "is_fixed"), [(299, False), (300, True)])
    def test_less_than_three_seconds_worth_tells_nothing(
        self, votes: FixedWindowVotes, used: int, *, is_fixed: bool
    ) -> None:
        window = FixedWindow(votes)
        window.observe(report(5_000, 30 * S), 0)
        window.observe(report(5_000 - used, 30 * S), 0)
        window.observe(report(5_000 - 2 * used, 30 * S), 0)
        assert window.is_fixed is is_fixed

    def test_small_uses_add_up(self, votes: FixedWindowVotes) -> None:
        window = FixedWindow(votes)
        for number in range(13):
            window.observe(report(5_000 - 50 * number, 30 * S), 0)
        assert window.is_fixed

    def test_a_stretch_goes_on_where_as_much_came_back_as_was_used(self, votes: FixedWindowVotes) -> None:
        window = FixedWindow(votes)
        for number in range(3):
            window.observe(report(5_000 - 400 * number, 30 * S + 4 * S * number), 0)
            window.observe(report(5_000 - 400 * number, 34 * S + 4 * S * number), 0)
        assert not window.is_fixed

    def test_where_more_is_left_than_before_a_new_stretch_begins(self, votes: FixedWindowVotes) -> None:
        window = FixedWindow(votes)
        for remaining in (5_000, 5_600, 5_000, 5_600, 5_301):
            window.observe(report(remaining, 30 * S), 0)
        assert not window.is_fixed, "only one of them used enough"

    @pytest.mark.parametrize("useless", [report(None, 30 * S), report(1_000, None)])
    def test_half_a_report_is_none(self, votes: FixedWindowVotes, useless: DimensionReport) -> None:
        window = FixedWindow(votes)
        for _ in range(5):
            window.observe(useless, 0)
        assert (window.is_fixed, window.ends_ns) == (False, 0)


class TestRenewal:
    def test_once_at_the_end_of_each_window(self, fixed: FixedWindow) -> None:
        assert not fixed.renewed(60 * S - 1)
        assert fixed.renewed(60 * S)
        assert not fixed.renewed(60 * S)
        assert fixed.ends_ns == 120 * S
        assert fixed.renewed(120 * S + 5)
        assert fixed.ends_ns == 180 * S

    def test_several_that_nobody_looked_at_are_one(self, fixed: FixedWindow) -> None:
        assert fixed.renewed(200 * S)
        assert fixed.ends_ns == 240 * S
        assert not fixed.renewed(239 * S)

    def test_never_without_fixed_windows(self, votes: FixedWindowVotes) -> None:
        assert not FixedWindow(votes).renewed(3_600 * S)
