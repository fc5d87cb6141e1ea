"""The limit to what is unanswered: tables of what happened, and the limit after it."""

from random import Random

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.concurrency_limit import ConcurrencyLimit


def test_there_is_none_while_nothing_fails() -> None:
    limit = ConcurrencyLimit(0)
    for unanswered in (1, 10, 1_000_000):
        limit.answered(unanswered, 0)
        assert limit.fits(unanswered, 0)
    assert limit.limit(0) is None
    limit.recovered()
    assert limit.limit(0) is None


def test_a_single_failure_leaves_room_above_what_is_in_use() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(20, 0)
    limit.failed(5, 0, S, outage=False)
    assert limit.limit(S) == pytest.approx(0.95 * 2 * 20)


def test_room_is_left_above_what_was_in_use_a_moment_ago() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(20, 0)
    limit.answered(1, 0)
    limit.failed(1, 0, S, outage=False)
    assert limit.limit(S) == pytest.approx(0.95 * 2 * 0.99 * 20)


def test_each_failure_takes_a_twentieth_down_to_four() -> None:
    limit = ConcurrencyLimit(0)
    for _ in range(3):
        limit.failed(10, 0, S, outage=False)
    assert limit.limit(S) == pytest.approx(20 * 0.95**3)
    for _ in range(100):
        limit.failed(10, 0, S, outage=False)
    assert limit.limit(S) == 4
    assert limit.fits(3, S)
    assert not limit.fits(4, S)


def test_without_failures_for_half_a_minute_it_is_forgotten() -> None:
    limit = ConcurrencyLimit(0)
    limit.failed(10, 0, S, outage=False)
    assert limit.limit(31 * S) is not None
    assert limit.fits(10_000, 31 * S + 1)
    assert limit.limit(31 * S + 1) is None


def test_grows_by_one_per_answer_up_to_what_was_safe_then_by_a_tenth_and_only_where_it_is_used() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(10, 0)
    for _ in range(25):
        limit.failed(10, 0, S, outage=False)  # one event: sent before the first of them failed
    assert limit.limit(S) == pytest.approx(20 * 0.95**25)
    before = limit.limit(S) or 0.0
    limit.answered(1, 0)
    assert limit.limit(S) == before, "not half used"
    limit.answered(4, 0)
    assert limit.limit(S) == before + 1
    for _ in range(20):
        limit.answered(9, 0)
    assert 9 <= (limit.limit(S) or 0.0) < 12
    before = limit.limit(S) or 0.0
    limit.answered(9, 0)
    assert limit.limit(S) == pytest.approx(before + 0.1)


def test_after_an_outage_it_goes_on_from_what_was_safe_whatever_its_probes_met() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(20, 0)
    for _ in range(5):
        limit.failed(20, 0, S, outage=False)
    for second in range(2, 60):
        limit.failed(1, second * S, second * S, outage=True)
    assert limit.limit(60 * S) == 4
    limit.recovered()
    assert limit.limit(60 * S) == pytest.approx(18)
    limit.recovered()
    assert limit.limit(60 * S) == pytest.approx(18), "never lower than it is"


def test_what_was_not_limited_before_an_outage_doubles_in_a_round_trip_until_something_fails() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(20, 0)
    for _ in range(5):
        limit.failed(20, 0, S, outage=False)
    limit.answered(20, S)  # late: it was sent before
    limit.recovered()
    for _ in range(18):
        limit.answered(18, 2 * S)
    assert 36 <= (limit.limit(2 * S) or 0.0) < 37
    limit.failed(36, 2 * S, 3 * S, outage=False)
    before = limit.limit(3 * S) or 0.0
    limit.answered(36, 3 * S)
    assert limit.limit(3 * S) == pytest.approx(before + 0.1), "above 0.9 of what was in use"


def test_what_was_limited_before_it_grows_by_a_tenth() -> None:
    limit = ConcurrencyLimit(0)
    limit.failed(20, 0, S, outage=False)
    limit.answered(20, 2 * S)
    for _ in range(20):
        limit.failed(20, 3 * S, 3 * S, outage=False)
    limit.recovered()
    before = limit.limit(3 * S) or 0.0
    limit.answered(18, 4 * S)
    assert limit.limit(4 * S) == pytest.approx(before + 0.1)


def test_in_an_outage_as_many_are_no_load_as_were_before() -> None:
    limit = ConcurrencyLimit(0)
    assert limit.fits_again(1_000)
    for _ in range(30):
        limit.failed(20, 0, S, outage=False)
    assert limit.fits_again(17)
    assert not limit.fits_again(18)


def run(limit: ConcurrencyLimit, wanted: int, fails: float, *, room: int, random: Random) -> tuple[float, float]:
    """Rounds in which as many as allowed are sent at once; what fits in `room` is served, unless it fails by chance.

    Returns the shares of the wanted that were served, and of the sent that failed, after the first fifty rounds.
    """
    served = sent = failed = 0
    for number in range(400):
        now_ns = number * S
        cap = limit.limit(now_ns)
        going = wanted if cap is None else min(wanted, int(cap))
        good = sum(place < room and random.random() >= fails for place in range(going))
        for _ in range(good):
            limit.answered(going, now_ns)
        for _ in range(going - good):
            limit.failed(going, now_ns, now_ns, outage=False)
        if number >= 50:
            served, sent, failed = served + good, sent + going, failed + going - good
    return served / (350 * wanted), failed / sent


@pytest.mark.parametrize(("fails", "least"), [(0.0, 1.0), (0.01, 0.98), (0.05, 0.93), (0.1, 0.8)])
def test_failures_by_chance_hardly_limit(fails: float, least: float) -> None:
    served, _ = run(ConcurrencyLimit(0), 20, fails, room=1_000, random=Random(1))  # noqa: S311 - a simulation
    assert served >= least


def test_an_upstream_that_serves_twenty_at_a_time_is_asked_for_hardly_more() -> None:
    served, failed = run(ConcurrencyLimit(0), 200, 0.0, room=20, random=Random(1))  # noqa: S311 - a simulation
    assert 200 * served >= 18
    assert failed <= 0.15


def test_an_upstream_that_serves_fewer_from_now_on_is_asked_for_fewer() -> None:
    limit = ConcurrencyLimit(0)
    run(limit, 100, 0.0, room=100, random=Random(1))  # noqa: S311 - a simulation
    served, failed = run(limit, 100, 0.0, room=20, random=Random(1))  # noqa: S311 - a simulation
    assert 100 * served >= 18
    assert failed <= 0.15


def growth(limit: ConcurrencyLimit, usual: float = 0.1) -> float:
    """By how much an answer at the limit raises it beyond the usual, in hundredths of it."""
    before = limit.limit(S) or 0.0
    limit.answered(int(before), S)
    return 100 * ((limit.limit(S) or 0.0) - before - usual) / before


def test_failures_where_few_are_unanswered_are_chance_and_their_cuts_are_given_back() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(100, 0)
    for _ in range(5):
        limit.failed(89, 0, S, outage=False)
    assert growth(limit) == pytest.approx(5 * 0.049 / 0.951, rel=1e-3)


def test_each_answer_where_few_are_unanswered_says_that_a_hundredth_less_is_chance() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(100, 0)
    for _ in range(5):
        limit.failed(89, 0, S, outage=False)
    for _ in range(5):
        limit.answered(10, 0)
    chance = (1 - 0.99**5) * 0.99**5
    assert growth(limit) == pytest.approx(5 * chance / (1 - chance), rel=1e-3)


def test_no_more_than_a_fifth_is_chance() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(100, 0)
    for _ in range(60):
        limit.failed(10, 0, S, outage=False)
    assert growth(limit, usual=1.0) == pytest.approx(5 * 0.2 / 0.8, rel=0.02)


def test_failures_where_many_are_unanswered_are_not_chance() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(100, 0)
    for _ in range(10):
        limit.failed(91, 0, S, outage=False)
    assert growth(limit) == pytest.approx(0, abs=1e-9)


def test_those_of_an_outage_teach_nothing_of_chance() -> None:
    limit = ConcurrencyLimit(0)
    limit.answered(100, 0)
    limit.failed(100, 0, S, outage=False)
    for _ in range(10):
        limit.failed(1, 0, S, outage=True)
    assert growth(limit) == pytest.approx(0, abs=1e-9)
