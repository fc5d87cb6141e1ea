"""The breaker for outages, and the probing that it shares with the thaw after a 429."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.circuit_breaker import CircuitBreaker
from tidegate.core.failures.probing import Probing


def fail(breaker: CircuitBreaker, count: int, now_ns: int, sent_ago_ns: int = 0) -> list[bool]:
    return [breaker.failed(now_ns - sent_ago_ns, now_ns) for _ in range(count)]


class TestBreaker:
    def test_four_failures_are_bad_luck_and_the_fifth_opens_it(self) -> None:
        breaker = CircuitBreaker(0)
        assert fail(breaker, 6, S) == [False] * 4 + [True, False]
        assert breaker.is_open

    def test_is_closed_without_failures(self) -> None:
        breaker = CircuitBreaker(0)
        assert (breaker.is_open, breaker.wait_ns(0)) == (False, 0)
        breaker.sent(0)
        assert breaker.wait_ns(0) == 0
        assert not breaker.answered(0), "there was nothing to close"

    def test_pauses_double_up_to_a_second(self) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 5, S)
        pauses = [breaker.wait_ns(S)]
        for second in range(2, 6):
            fail(breaker, 1, second * S)
            pauses.append(breaker.wait_ns(second * S))
        assert pauses == [S // 4, S // 2, S, S, S]

    def test_after_the_pause_one_probe_goes_and_the_next_when_it_has_ended_or_takes_long(self) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 5, S)
        assert breaker.wait_ns(S + S // 4) == 0
        breaker.sent(2 * S)
        assert breaker.wait_ns(2 * S) == S // 10
        assert breaker.wait_ns(4 * S) == 0
        breaker.sent(4 * S)
        breaker.ended(4 * S)
        assert breaker.wait_ns(4 * S) == 0

    def test_an_answer_to_a_probe_closes_it_and_makes_the_pause_short_again(self) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 8, S)
        assert not breaker.answered(S - 1), "it was sent before"
        assert breaker.answered(S)
        assert (breaker.is_open, breaker.wait_ns(S)) == (False, 0)
        fail(breaker, 5, 6 * S)
        assert breaker.wait_ns(6 * S) == S // 4

    def test_an_answer_to_a_later_request_begins_the_count_anew(self) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 4, 2 * S)
        breaker.answered(3 * S)
        fail(breaker, 4, 4 * S)
        assert not breaker.is_open

    @pytest.mark.parametrize("sent_ns", [S, 2 * S])
    def test_an_answer_to_one_that_was_not_sent_later_does_not(self, sent_ns: int) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 4, 2 * S)
        breaker.answered(sent_ns)
        fail(breaker, 1, 4 * S)
        assert breaker.is_open

    def test_late_failures_of_the_same_outage_do_not_prolong_it(self) -> None:
        breaker = CircuitBreaker(0)
        fail(breaker, 5, 2 * S)
        assert not any(fail(breaker, 20, 2 * S + 1, sent_ago_ns=S))
        assert breaker.wait_ns(2 * S) == S // 4


class TestProber:
    def test_probing_is_idle_at_first(self) -> None:
        prober = Probing(0)
        prober.sent(0)
        assert (prober.active, prober.wait_ns(0), prober.answered(1)) == (False, 0, False)

    def test_answers_to_requests_from_before_the_probing_do_not_end_it(self) -> None:
        prober = Probing(0)
        prober.refused(S, S, waves=False)
        assert prober.predates(S - 1)
        assert not prober.answered(S - 1)
        assert prober.active
        assert not prober.predates(S)
        assert prober.answered(S)
        assert not prober.active

    def test_beginning_again_lets_a_probe_go_at_once(self) -> None:
        prober = Probing(0)
        prober.refused(S, S, waves=False)
        prober.sent(S)
        assert prober.wait_ns(S) == 2 * S
        prober.refused(2 * S, 2 * S, waves=False)
        assert prober.wait_ns(2 * S) == 0

    def test_what_is_not_refused_in_twice_the_time_of_refusals_is_followed_by_twice_as_many(self) -> None:
        prober = Probing(0)
        prober.refused(S, S - S // 5, waves=True)
        waits = []
        for number in range(7):
            waits.append(prober.wait_ns(S + number))
            prober.sent(S)
        assert waits == [0] + [2 * S // 5 - 1] + [0] + [2 * S // 5 - 3] + [0] * 3
        assert prober.wait_ns(S) == 2 * S // 5

    def test_a_refusal_begins_with_one_again(self) -> None:
        prober = Probing(0)
        prober.refused(S, S - S // 5, waves=True)
        for _ in range(2):
            prober.sent(S)
        prober.refused(2 * S, 2 * S, waves=True)
        prober.sent(2 * S)
        assert prober.wait_ns(2 * S) == S // 5, "half of the time that refusals took before"

    def test_a_refusal_at_once_leaves_a_tenth_of_a_second_and_a_late_one_two_seconds(self) -> None:
        for took_ns, patience_ns in ((0, S // 10), (90 * S, 2 * S)):
            prober = Probing(0)
            prober.refused(100 * S, 100 * S - took_ns, waves=True)
            prober.sent(100 * S)
            assert prober.wait_ns(100 * S) == patience_ns

    def test_where_an_answer_has_to_tell_one_goes_at_a_time(self) -> None:
        prober = Probing(0)
        prober.refused(S, S, waves=True)
        prober.refused(S, S, waves=False)
        for second in (1, 3, 5):
            assert prober.wait_ns(second * S) == 0
            prober.sent(second * S)
            assert prober.wait_ns(second * S) == 2 * S

    def test_when_one_ends_another_may_go(self) -> None:
        prober = Probing(0)
        prober.refused(S, S, waves=False)
        prober.sent(S)
        prober.ended(S)
        prober.ended(S)
        assert prober.wait_ns(S) == 0
        prober.sent(S)
        assert prober.wait_ns(S) == 2 * S

    def test_the_first_of_each_wave_goes_alone_and_so_do_others_a_while_later(self) -> None:
        prober = Probing(0)
        prober.refused(S, S, waves=True)
        now_ns, alone = S, []
        for _ in range(7):
            alone.append(prober.is_next_alone(now_ns))
            prober.sent(now_ns)
            now_ns += prober.wait_ns(now_ns)
        assert alone == [True, True, False, True, False, False, False]
        prober.sent(now_ns)
        assert [prober.is_next_alone(now_ns), prober.is_next_alone(now_ns + S // 10)] == [False, True]
