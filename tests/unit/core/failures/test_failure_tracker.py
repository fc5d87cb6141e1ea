"""The effects of upstream failures on a pool: an outage, a concurrency limit, a spend cap."""

import pytest

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, Event
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.failure_tracker import FailureTracker


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def failures(events: list[Event]) -> FailureTracker:
    return FailureTracker("p", events, 0)


def fail(failures: FailureTracker, count: int, now_ns: int) -> None:
    """So many requests, sent and failed one after another."""
    for _ in range(count):
        failures.sent(now_ns)
        failures.failed(now_ns, now_ns)
        failures.ended(now_ns, answered=False)


def test_a_few_failures_bind_by_concurrency_and_more_in_a_row_are_an_outage(failures: FailureTracker) -> None:
    fail(failures, 4, S)
    assert (failures.is_outage, failures.binding()) == (False, "concurrency")
    fail(failures, 1, S)
    assert (failures.is_outage, failures.binding()) == (True, "outage")


def test_beyond_what_may_go_at_a_time_nobody_goes_however_often_one_asks(failures: FailureTracker) -> None:
    assert failures.wait_ns(0) == 0
    fail(failures, 1, S)
    for _ in range(failures.concurrency_limit(S) or 0):
        assert failures.wait_ns(S) == 0
        failures.sent(S)
    assert [failures.admits(S) for _ in range(3)] == [False] * 3
    assert failures.wait_ns(S) > 0


def test_after_an_outage_as_many_may_go_at_a_time_as_before_it(failures: FailureTracker) -> None:
    for _ in range(64):
        failures.sent(0)
    for _ in range(64):
        failures.failed(S, S)
    for _ in range(64):
        failures.ended(0, answered=False)
    for second in range(2, 60):
        fail(failures, 1, second * S)
    failures.sent(60 * S)
    failures.answered(60 * S, 60 * S)
    assert not failures.is_outage
    assert failures.concurrency_limit(60 * S) == 57, "nine tenths of 64"


def test_probes_that_are_not_refused_are_followed_by_more_but_few_beside_what_hangs(failures: FailureTracker) -> None:
    fail(failures, 5, S)
    now_ns, waves = 10 * S, []
    for _ in range(6):
        wave = 0
        while failures.admits(now_ns):
            failures.sent(now_ns)
            wave += 1
        waves.append(wave)
        now_ns += 2 * S
    assert waves == [1, 2, 1, 1, 1, 1], "up to four at a time, and then one by one"


@pytest.mark.parametrize("ends_in_ns", [None, 3_600 * S])
def test_an_operator_ends_a_spend_cap_once(
    failures: FailureTracker, events: list[Event], ends_in_ns: int | None
) -> None:
    failures.spend_cap_reached(ends_in_ns, 0)
    assert failures.refusal(10 * S) is not None
    failures.clear_spend_cap(10 * S)
    failures.clear_spend_cap(10 * S)
    assert failures.refusal(10 * S) is None
    assert events == [CircuitOpened("p", Cause.SPEND_CAP, ends_in_ns), CircuitClosed("p", Cause.SPEND_CAP)]


def test_an_answer_to_what_was_sent_before_a_failure_does_not_end_the_row_but_a_later_one_does(
    failures: FailureTracker,
) -> None:
    fail(failures, 4, 2 * S)
    failures.answered(S, 3 * S)
    failures.answered(3 * S, 3 * S)
    fail(failures, 4, 4 * S)
    assert not failures.is_outage


def test_an_answer_to_what_was_sent_before_a_spend_cap_does_not_end_it_but_a_later_one_does(
    failures: FailureTracker, events: list[Event]
) -> None:
    failures.spend_cap_reached(None, 2 * S)
    failures.answered(S, 3 * S)
    assert failures.is_spend_capped
    failures.answered(3 * S, 3 * S)
    assert not failures.is_spend_capped
    assert events[-1] == CircuitClosed("p", Cause.SPEND_CAP)


def test_no_two_outages_have_the_same_number_nor_has_the_time_between_them(failures: FailureTracker) -> None:
    found = [failures.outage_changes]
    for second in range(0, 40, 20):
        fail(failures, 5, second * S)
        found.append(failures.outage_changes)
        failures.answered((second + 10) * S, (second + 11) * S)
        found.append(failures.outage_changes)
    assert len(set(found)) == 5
