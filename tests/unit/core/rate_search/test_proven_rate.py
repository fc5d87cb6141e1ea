"""Admitted requests prove that the upstream grants their rate."""

import pytest

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.proven_rate import ProvenRate
from tidegate.core.rate_search.rate_bounds import Use

EXACT = Use(0, spare=0.0, vague=0.0, per_second=1.0)


def sent(proven: ProvenRate, *at_s: float, first: int = 1) -> None:
    for number, moment_s in enumerate(at_s):
        proven.sent(Cost(first + number), round(moment_s * S))


def test_the_proven_rate_is_the_use_after_the_first_request_by_its_time() -> None:
    proven = ProvenRate(0)
    sent(proven, 10, 12, 14)
    proven.changed(EXACT)
    assert proven.per_second == 0.5


def test_less_what_a_bucket_holds_and_what_is_not_known() -> None:
    proven = ProvenRate(0)
    sent(proven, *range(11))
    proven.changed(Use(0, spare=2.0, vague=3.0, per_second=1.0))
    assert proven.per_second == 0.5


def test_the_highest_stays_and_a_phase_goes_on_from_its_last_request() -> None:
    proven = ProvenRate(0)
    sent(proven, 0, 1)
    proven.changed(EXACT)
    sent(proven, 5, first=3)
    proven.changed(EXACT)
    assert proven.per_second == 1.0
    sent(proven, 5.5, first=4)
    proven.changed(EXACT)
    assert proven.per_second == 2.0


def test_a_phase_may_begin_before_anything_was_sent() -> None:
    proven = ProvenRate(0)
    proven.changed(EXACT)
    sent(proven, 2)
    proven.changed(EXACT)
    assert proven.per_second == 0.5


@pytest.mark.parametrize("moments", [(), (1,)])
def test_one_request_proves_nothing(moments: tuple[float, ...]) -> None:
    proven = ProvenRate(0)
    sent(proven, *moments)
    proven.changed(EXACT)
    assert proven.per_second == 0


def test_one_that_was_refused_was_none_and_a_phase_begins_with_the_next() -> None:
    proven = ProvenRate(0)
    sent(proven, 1, 2)
    proven.refused(2 * S)
    assert (proven.last_ns, proven.last_units) == (1 * S, Cost(1))
    sent(proven, 4, 8, first=2)
    proven.changed(EXACT)
    assert proven.per_second == 0.25


def test_where_the_first_was_refused_nothing_was_sent() -> None:
    proven = ProvenRate(0)
    sent(proven, 1)
    proven.refused(1 * S)
    assert (proven.last_ns, proven.last_units) == (0, Cost())


def test_one_that_was_sent_after_the_refused_one_was_let_in_as_far_as_is_known() -> None:
    proven = ProvenRate(0)
    sent(proven, 1, 2, 3)
    proven.refused(2 * S)
    assert proven.last_ns == 3 * S


def test_forget_clears_the_proven_rate() -> None:
    proven = ProvenRate(0)
    sent(proven, 1, 2)
    proven.changed(EXACT)
    proven.forget()
    assert proven.per_second == 0


def test_a_correction_counts_for_all_requests_from_then_on() -> None:
    proven = ProvenRate(0)
    assert proven.dump(0).before == (0, Cost())
    proven.sent(Cost(1), S)
    proven.sent(Cost(2), 2 * S)
    for tokens, sent_ns in ((9, 2 * S + 1), (5, 2 * S), (7, S)):
        proven.recounted(Cost(0, tokens), sent_ns)
    state = proven.dump(2 * S)
    assert (state.last, state.before, state.first) == ((0, Cost(2, 12)), (S, Cost(1, 7)), (S, Cost(1, 7)))


def test_a_correction_after_a_refusal_begins_no_phase() -> None:
    proven = ProvenRate(0)
    proven.sent(Cost(1), S)
    proven.refused(S)
    proven.recounted(Cost(0, 5), 0)
    state = proven.dump(S)
    assert (state.last, state.before, state.first) == ((S, Cost(0, 5)), (S, Cost(0, 5)), None)
