"""The calibration of predicted waits by real ones."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.pool.wait_calibration import WaitCalibration


def drained(*waits: tuple[int, int]) -> WaitCalibration:
    ratio = WaitCalibration()
    for predicted_ns, waited_ns in waits:
        ratio.observe(predicted_ns, waited_ns)
    return ratio


def test_a_prediction_is_believed_until_somebody_has_waited() -> None:
    assert WaitCalibration().corrected_ns(7 * S) == 7 * S


def test_the_first_wait_counts_in_full_then_the_mean() -> None:
    assert drained((4 * S, 5 * S)).corrected_ns(8 * S) == 10 * S
    assert drained((4 * S, 5 * S), (4 * S, 4 * S)).corrected_ns(8 * S) == 9 * S


def test_newer_waits_outweigh_older_ones() -> None:
    ratio = drained(*[(S, 2 * S)] * 200, *[(S, S)] * 100)
    assert ratio.corrected_ns(S) == pytest.approx(S, rel=0.01)


def test_short_predictions_tell_nothing() -> None:
    ratio = drained(*[(S // 2 - 1, 60 * S)] * 20)
    assert ratio.corrected_ns(S) == S
    assert not ratio.is_tested


@pytest.mark.parametrize(("waited_ns", "corrected_ns"), [(0, 5 * S), (3_600 * S, 49 * S // 5)])
def test_experience_corrects_by_no_more_than_a_factor(waited_ns: int, corrected_ns: int) -> None:
    assert drained((S, waited_ns)).corrected_ns(7 * S) == corrected_ns


def test_it_is_tested_after_ten_waits() -> None:
    ratio = drained(*[(S, S)] * 9)
    assert not ratio.is_tested
    ratio.observe(S // 2, S // 2)
    assert ratio.is_tested
