"""The calibration of predicted waits by real ones."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from support.dumps import assert_continues
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.forecast.wait_calibration import WaitCalibration, WaitCalibrationState


def calibrated(*waits: tuple[int, int], every_ns: int = S) -> WaitCalibration:
    calibration = WaitCalibration()
    for number, (predicted_ns, waited_ns) in enumerate(waits, start=1):
        calibration.observe(predicted_ns, waited_ns, number * every_ns)
    return calibration


def test_a_prediction_is_believed_until_somebody_has_waited() -> None:
    assert WaitCalibration().corrected_ns(7 * S) == 7 * S


def test_the_first_waits_count_as_much_as_the_formula_itself_once_there_are_twenty() -> None:
    assert calibrated((10 * S, 11 * S)).corrected_ns(2_100 * S) == 2_110 * S
    assert calibrated(*[(10 * S, 11 * S)] * 20, every_ns=0).corrected_ns(1_000 * S) == 1_050 * S


def test_no_time_passes_before_the_first_wait_or_between_two_that_end_together() -> None:
    """So they count by their number, even if they have waited for no time at all."""
    assert calibrated((10 * S, 0)).corrected_ns(21 * 6 * S) == (21 * 6 - 1) * S
    both = calibrated((10 * S, 0), (10 * S, 0), every_ns=0).corrected_ns(21 * 22 * 6 * S)
    assert both == (21 * 22 * 6 - 22 - 20) * S


def test_newer_waits_outweigh_older_ones() -> None:
    calibration = calibrated(*[(S, 2 * S)] * 200, *[(S, S)] * 200)
    assert calibration.corrected_ns(100 * S) == pytest.approx(100 * S, rel=0.01)


def test_the_ratio_follows_no_faster_than_waits_end() -> None:
    """A thousand waits of ten seconds that end within a second say no more than a few of them."""
    calibration = calibrated(*[(10 * S, 10 * S)] * 1_000, *[(10 * S, 12 * S)] * 1_000, every_ns=S // 1_000)
    fast = calibration.corrected_ns(100 * S)
    slow = calibrated(*[(S, S)] * 1_000, *[(S, 6 * S // 5)] * 1_000).corrected_ns(100 * S)
    assert 100 * S < fast < 115 * S < slow


def test_short_predictions_tell_nothing() -> None:
    calibration = calibrated(*[(S // 2 - 1, 60 * S)] * 20)
    assert calibration.corrected_ns(S) == S
    assert not calibration.is_tested


@pytest.mark.parametrize(("waited_ns", "corrected_ns"), [(0, 100 * S / 12), (3_600 * S, 12 * S)])
def test_experience_corrects_by_no_more_than_a_factor(waited_ns: int, corrected_ns: float) -> None:
    calibration = calibrated(*[(S, waited_ns)] * 1_000, every_ns=9_000 * S)
    assert calibration.corrected_ns(10 * S) == pytest.approx(corrected_ns)


def test_it_is_tested_after_ten_waits() -> None:
    calibration = calibrated(*[(S, S)] * 9)
    assert not calibration.is_tested
    calibration.observe(S // 2, S // 2, 10 * S)
    assert calibration.is_tested


WAITS = st.tuples(st.sampled_from([S // 2 - 1, S // 2, 10 * S]), st.sampled_from([0, S // 4, 10 * S, 90 * S]))
STEPS = st.lists(st.tuples(st.sampled_from([0, S // 10, S, 100 * S]), WAITS), max_size=30)


def observe(calibration: WaitCalibration, waits: tuple[int, int], now_ns: int) -> object:
    calibration.observe(*waits, now_ns)
    return calibration.corrected_ns(10**15), calibration.is_tested


@pytest.mark.parametrize(("most", "prior"), [(1.2, 20), (5.0, 0)])
@given(STEPS, STEPS, st.integers(-(10**15), 10**15))
def test_a_calibration_continues_from_its_dump(
    most: float,
    prior: int,
    history: list[tuple[int, tuple[int, int]]],
    continuation: list[tuple[int, tuple[int, int]]],
    shift_ns: int,
) -> None:
    def restore(state: WaitCalibrationState, now_ns: int) -> WaitCalibration:
        return WaitCalibration.restore(state, now_ns, most, prior)

    assert_continues(WaitCalibration(most, prior), observe, restore, history, continuation, shift_ns)
