"""The limit of one dimension finds competing traffic."""

import pytest

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes
from unit.core.limits.reported_bucket import PER_MINUTE, begun, learn, level


class TestOthers:
    """Others take 40 of the 100 a second; we take 50, and are answered after half a second."""

    @staticmethod
    def shared(
        dimension: Dimension = Dimension.REQUESTS, *, others: int = 40, price_error: int = 0, first: int = 0
    ) -> DimensionLimit:
        made, true = begun(4_000 + first, dimension), 4_000
        made.charge(first, 0)
        for second in range(1, 15):
            true += 100 - others - 50
            made.charge(50, second * S)
            made.observe_price(50, 50 + price_error)
            learn(made, true, second * S + S // 2, sent_ago_ns=S // 2)
        return made

    @pytest.mark.parametrize("dimension", [Dimension.REQUESTS, Dimension.INPUT_TOKENS])
    def test_are_left_what_they_take(self, dimension: Dimension) -> None:
        state = self.shared(dimension).snapshot(15 * S)
        assert state.effective_per_minute == pytest.approx(3_600, rel=0.02)

    def test_leave_a_share_of_the_rate_or_of_what_is_configured(self) -> None:
        made = self.shared()
        assert made.share == pytest.approx(0.6, rel=0.02)
        made.configure(LimitSettings(4_800, 100), 15 * S)
        assert made.share == pytest.approx(0.75, rel=0.02), "3,600 of 4,800"
        made.configure(LimitSettings(1_200, 100), 15 * S)
        assert made.share == 1

    def test_a_rate_that_is_searched_is_a_share_of_what_was_found_before(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, FixedWindowVotes())
        made.search(2.0, 0, 0.5)
        assert made.share == 0.5
        made.search(2.0, 0, 0.25)
        assert made.share == 0.25
        made.configure(LimitSettings(160, 100), 0)
        assert made.share == 0.75, "120 of 160"
        made.search(2.0, 0)
        assert made.share == 1

    def test_are_not_seen_where_there_are_none(self) -> None:
        assert self.shared(others=0).snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_are_not_looked_for_in_output_which_is_charged_as_it_is_produced(self) -> None:
        assert self.shared(Dimension.OUTPUT_TOKENS).snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_are_not_looked_for_where_our_own_prices_are_far_off(self) -> None:
        assert self.shared(price_error=50).snapshot(15 * S).effective_per_minute == PER_MINUTE

    @pytest.mark.parametrize(("count", "share"), [(8, 0.6), (9, 1)])
    @pytest.mark.parametrize("truth", [0, 100, 150])
    def test_are_not_looked_for_after_nine_prices_that_were_far_off(self, truth: int, count: int, share: float) -> None:
        made = self.shared()
        for _ in range(count):
            made.observe_price(50, truth)
        made.charge(50, 15 * S)
        learn(made, 4_150, 15 * S + S // 2, sent_ago_ns=S // 2)
        assert made.share == pytest.approx(share, rel=0.02)

    def test_are_found_beside_prices_that_are_off_by_a_fifth(self) -> None:
        assert self.shared(price_error=10).share == pytest.approx(0.6, rel=0.02)

    def test_are_left_what_they_take_also_after_one_large_request(self) -> None:
        made = self.shared(first=1_800)
        assert made.snapshot(15 * S).effective_per_minute == pytest.approx(3_600, rel=0.02)

    def test_beside_them_we_go_by_our_share_without_bursts(self) -> None:
        made, now_ns = self.shared(), 15 * S
        assert level(made, now_ns) > 1_000
        assert made.fits(30, now_ns)
        made.charge(100, now_ns)
        assert not made.fits(50, now_ns)
        assert made.wait_ns(50, now_ns) == pytest.approx(100 * S / 60, rel=0.02)
        learn(made, 4_070, now_ns)
        assert made.share == pytest.approx(0.6, rel=0.02)
        assert not made.fits(50, now_ns), "the next answer changes nothing of that"

    def test_are_left_as_much_by_a_restored_limit(self) -> None:
        made, now_ns = self.shared(), 15 * S
        made.charge(100, now_ns)
        restored = DimensionLimit.restore(made.dump(now_ns), 0, Dimension.REQUESTS, FixedWindowVotes())
        assert [restored.wait_ns(units, 0) for units in (1, 50)] == [made.wait_ns(units, now_ns) for units in (1, 50)]
        assert (restored.per_minute, restored.share) == (made.per_minute, made.share)

    def test_half_a_second_of_our_share_may_go_at_once(self) -> None:
        made, now_ns = self.shared(others=200), 60 * S
        assert made.fits(10, now_ns)
        made.charge(1, now_ns)
        assert made.fits(9, now_ns), "of 20 a second"
        assert not made.fits(10, now_ns)

    def test_a_full_bucket_hides_them_and_ends_the_pacing(self) -> None:
        made = self.shared()
        learn(made, 5_990, 15 * S)
        assert made.snapshot(15 * S).effective_per_minute == PER_MINUTE
        made.charge(100, 15 * S)
        assert made.fits(50, 15 * S)

    def test_a_bucket_that_was_full_since_the_last_report_hides_them_and_ends_the_pacing(self) -> None:
        made = begun(5_850)
        for second in range(2, 30, 2):
            made.charge(130, second * S)
            learn(made, 5_870, second * S, sent_ago_ns=0)
        assert made.snapshot(30 * S).effective_per_minute == PER_MINUTE, "70 of 200 were lost, not taken"

    def test_and_one_that_was_emptied_at_the_end_of_that_time(self) -> None:
        made, true = begun(5_000), 5_000
        for second in range(20, 200, 20):
            made.charge(2_200, second * S)
            true = min(6_000, true + 2_000) - 2_200
            learn(made, true, second * S, sent_ago_ns=0)
        assert made.snapshot(200 * S).effective_per_minute == PER_MINUTE

    def test_of_the_last_second_before_it_is_full_nobody_knows(self) -> None:
        made = begun(5_890)
        for tick in range(1, 40):
            made.charge(5, tick * S // 2)
            learn(made, 5_905, tick * S // 2, sent_ago_ns=0)
        assert made.snapshot(20 * S).effective_per_minute == PER_MINUTE

    def test_a_shallow_bucket_hides_them(self) -> None:
        """It holds 40; others take 60 a second."""
        made = DimensionLimit(Dimension.REQUESTS, FixedWindowVotes())
        for tick in range(300):
            made.charge(2, tick * S // 20)
            made.observe(DimensionReport(PER_MINUTE, 20, S * 7 // 10), 0, 0, tick * S // 20)
        assert made.snapshot(15 * S).effective_per_minute == PER_MINUTE

    @pytest.mark.parametrize(("remaining", "full_in_ns"), [(100, 2 * S), (155, 145 * S // 100)])
    def test_one_of_two_seconds_shows_them(self, remaining: int, full_in_ns: int) -> None:
        """It holds 250; others take 60 a second."""
        made = DimensionLimit(Dimension.REQUESTS, FixedWindowVotes())
        for quarter in range(60):
            made.charge(10, quarter * S // 4)
            made.observe(DimensionReport(PER_MINUTE, remaining, full_in_ns), 0, 0, quarter * S // 4)
        assert made.snapshot(15 * S).effective_per_minute == pytest.approx(2_400, rel=0.01)

    def test_keep_a_fifth_of_the_rate_for_us_however_much_they_take(self) -> None:
        assert self.shared(others=200).snapshot(15 * S).effective_per_minute == pytest.approx(1_200)

    def test_requests_sent_together_of_which_each_left_less_are_none(self) -> None:
        """Sixty at once, answered one after the other; then two a second. Figures belong to the admission."""
        made, true, answers = begun(5_500), 5_500, list[tuple[int, int, int]]()
        sends = [(S, S // 2 + number * S // 20) for number in range(60)]
        sends += [(S + number * S // 2, 2 * S) for number in range(1, 20)]
        before_ns = 0
        for sent_ns, took_ns in sends:
            true += (sent_ns - before_ns) // (S // 100) - 50
            before_ns = sent_ns
            answers.append((sent_ns + took_ns, sent_ns, true))
        for now_ns, sent_ns, remaining in sorted([*answers, *((sent_ns, sent_ns, -1) for sent_ns, _ in sends)]):
            if remaining < 0:
                made.charge(50, now_ns)
            else:
                learn(made, remaining, now_ns, sent_ago_ns=now_ns - sent_ns)
                assert made.snapshot(now_ns).effective_per_minute == PER_MINUTE

    def test_are_forgotten_with_another_limit(self) -> None:
        made = self.shared()
        made.observe(DimensionReport(9_000, 3_000), 0, 0, 15 * S)
        assert made.snapshot(15 * S).effective_per_minute == 9_000

    def test_are_forgotten_when_their_limit_is_no_longer_reported(self) -> None:
        made = self.shared()
        made.forget_report(15 * S)
        made.search(2.0, 15 * S)
        assert (made.snapshot(15 * S).effective_per_minute, made.share) == (120, 1)
