"""When a trial is due, and how large the next step is. Numbers follow from the default settings."""

import pytest

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.search_settings import RateSearchSettings
from tidegate.core.rate_search.trials import Trials
from tidegate.core.rate_search.use_counter import UseCounter

BEGAN_NS = 100 * S


@pytest.fixture
def trials() -> Trials:
    """The rate changed at 100 s, after 10 requests, 4 of which are in flight."""
    trials = Trials(0, RateSearchSettings())
    trials.begin(BEGAN_NS, UseCounter(Cost(10, 50), in_flight=4))
    return trials


def least(trials: Trials, uncertainty: float, near: float = 0.0) -> tuple[float, int]:
    """The seconds and the requests after which a trial is due, where one 429 is acceptable in 80 requests."""

    def is_due(seconds: float, requests: int) -> bool:
        used = Cost(10 + requests)
        return trials.is_due(round(seconds * S), used, uncertainty, near, share=0.5, enough=80)

    seconds = next(tenths / 10 for tenths in range(1_000) if is_due(tenths / 10, 1_000))
    return seconds, next(requests for requests in range(1_000) if is_due(1_000, requests))


def test_nothing_is_counted_at_first() -> None:
    trials = Trials(BEGAN_NS, RateSearchSettings())
    assert (trials.changed_ns, trials.used) == (BEGAN_NS, Cost())
    assert (trials.early, trials.passed, trials.vain) == (0, 0, 0)


def test_the_better_a_rate_is_measured_the_rarer_trials_are(trials: Trials) -> None:
    assert least(trials, 0.01) == (20, 40)
    assert least(trials, 0.04) == (20, 40)
    assert least(trials, 0.08) == (10, 10)
    assert least(trials, 0.5) == (2, 3), "never sooner"


def test_a_rate_that_was_too_high_is_tried_soon_if_it_is_far_enough(trials: Trials) -> None:
    assert least(trials, 0.01, near=0.011) == (2, 3)
    assert least(trials, 0.01, near=0.0109) == (20, 40)


@pytest.mark.parametrize(("vain", "seconds", "requests"), [(0, 2.5, 3), (1, 2.5, 3), (2, 5, 3), (3, 10, 10)])
def test_trials_in_vain_make_the_next_ones_rarer(trials: Trials, vain: int, seconds: float, requests: int) -> None:
    trials.vain = vain
    assert least(trials, 0.32) == (seconds, requests)


def test_steps_without_a_bound_double_and_come_twice_as_soon(trials: Trials) -> None:
    assert [trials.step(0.1, 0.0, 0.05) for _ in range(4)] == [0.1, 0.2, 0.4, 0.6]
    assert trials.passed == 4
    assert trials.refused(Cost(10), 20) == 4
    assert [trials.step(0.01, 0.0, 0.05) for _ in range(2)] == [0.05, 0.1]
    assert least(trials, 0.04) == (5, 10)


def test_a_step_towards_a_rate_that_was_too_high_is_that_far(trials: Trials) -> None:
    assert [trials.step(0.1, near, 0.05) for near in (0.011, 0.3, 0.0)] == [0.011, 0.3, 0.1]
    assert trials.passed == 3


def test_doublings_are_counted_up_to_thirty(trials: Trials) -> None:
    for _ in range(40):
        trials.step(0.1, 0.0, 0.05)
    assert (trials.dump(BEGAN_NS).leaps, trials.passed) == (30, 40)


def test_429s_in_a_row_that_come_too_early_are_counted(trials: Trials) -> None:
    early = []
    for requests in (9, 9, 10, 9):
        trials.refused(Cost(10 + requests), 20)
        early.append(trials.early)
    assert early == [1, 2, 0, 1]
    assert trials.refused(Cost(10), 20) == 0, "no trial has passed since the last 429"


@pytest.mark.parametrize(("requests", "in_flight", "is_pending"), [(7, 9, True), (8, 9, False), (3, 2, True)])
def test_output_of_twice_the_requests_in_flight_is_awaited(
    trials: Trials, requests: int, in_flight: int, *, is_pending: bool
) -> None:
    assert trials.is_pending(UseCounter(Cost(10 + requests), in_flight)) is is_pending
    assert not trials.is_pending(UseCounter(Cost(14), 2))


def test_only_corrections_of_earlier_requests_count_as_earlier_use(trials: Trials) -> None:
    trials.recount(Cost(0, 5), BEGAN_NS)
    assert trials.used == Cost(10, 50)
    trials.recount(Cost(0, 5), BEGAN_NS - 1)
    assert trials.used == Cost(10, 55)


def test_restored_trials_are_the_same(trials: Trials) -> None:
    trials.step(0.1, 0.0, 0.05)
    trials.refused(Cost(11), 20)
    for _ in range(3):
        trials.step(0.1, 0.0, 0.05)
    trials.vain = 2
    state = trials.dump(120 * S)
    restored = Trials.restore(state, 900 * S, RateSearchSettings(every_seconds=60))
    assert restored.dump(900 * S) == state
    assert (restored.changed_ns, restored.used) == (880 * S, Cost(10, 50))
    assert (restored.early, restored.passed, restored.vain) == (1, 3, 2)
    assert restored.is_pending(UseCounter(Cost(17), 4))
    assert (least(trials, 0.01)[0], least(restored, 0.01)[0]) == (2.5, 7.5)
