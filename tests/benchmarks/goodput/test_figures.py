import math

import pytest

from benchmarks.goodput.clients import CLIENTS
from benchmarks.goodput.expectations import Expectations, judge, read_expectations
from benchmarks.goodput.metrics import (
    Figures,
    Measurement,
    figures,
    jain_index,
    most_in_a_window,
    percentile,
    seconds_to_settle,
)
from benchmarks.goodput.records import Job, PredictedWait, RunRecord, Sample, Sent
from benchmarks.goodput.report import scenario_lines
from benchmarks.goodput.workload import RequestShape
from tidegate.core.domain.caller import Caller

TEAM = Caller("team")


def sample(
    seconds: float, used: float, attainable: float, *, level: float = 0.0, answers: int = 0, refusals: int = 0
) -> Sample:
    return Sample(seconds, (used, 0, 0), (attainable, 0, 0), (level, 0, 0), answers, refusals)


def job(submitted: float, accepted: float | None, caller: Caller = TEAM, gave_up: float | None = None) -> Job:
    shape = RequestShape(model="claude-sonnet-5-5", input_tokens=1, output_tokens=1)
    return Job(0, caller, submitted, 60.0, shape, 100, (1, 1, 1), accepted, gave_up)


def figures_of(
    samples: list[Sample], jobs: list[Job], measurement: Measurement, saturating: set[str] | None = None
) -> Figures:
    return figures(RunRecord(frozenset(saturating or ()), jobs, samples), measurement)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0)])
def test_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == expected


def test_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.5) is None


def test_jain_index() -> None:
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain_index([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_the_error_of_a_prediction_is_relative_to_the_wait_without_short_waits() -> None:
    waits = [
        PredictedWait(since, predicted, waited)
        for since, predicted, waited in ((2, 12, 10), (2, 4, 10), (2, 100, 5), (2, 10, 10), (1, 1, 10))
    ]
    record = RunRecord(samples=[sample(0, 0, 0), sample(10, 1, 1)], waits=waits)
    assert figures(record, Measurement(2, 10)).prediction_error_p90 == pytest.approx(0.6)


def test_share_counts_from_the_steady_state_on() -> None:
    samples = [sample(0, 0, 100), sample(10, 50, 200), sample(20, 140, 300)]
    assert figures_of(samples, [], Measurement(10, 20)).share == pytest.approx(0.9)


def test_draining_a_full_bucket_does_not_count_as_usage() -> None:
    samples = [sample(0, 0, 0, level=60), sample(10, 100, 100, level=0)]
    assert figures_of(samples, [], Measurement(0, 10)).share == pytest.approx(0.4)
    assert figures_of(samples, [], Measurement(0, 10, buckets_bind=False)).share == pytest.approx(1.0)


def test_each_part_counts_in_its_binding_dimension() -> None:
    samples = [
        Sample(0, (0, 0, 0), (0, 0, 0), (0, 0, 0), 0, 0),
        Sample(10, (90, 10, 0), (100, 100, 0), (0, 0, 0), 0, 0),
        Sample(40, (120, 280, 0), (400, 400, 0), (0, 0, 0), 0, 0),
    ]
    assert figures_of(samples, [], Measurement(0, 40)).share == pytest.approx(0.7)
    parts = Measurement(0, 40, parts_from_seconds=(10,))
    assert figures_of(samples, [], parts).share == pytest.approx(0.25 * 0.9 + 0.75 * 0.9)


def test_refusals_and_requests_that_were_given_up_are_counted_per_1000() -> None:
    samples = [sample(0, 0, 0), sample(10, 1, 1, answers=200, refusals=3)]
    found = figures_of(samples, [job(0, None, gave_up=5)], Measurement(0, 10))
    assert found.refused_per_1000 == pytest.approx(15)
    assert found.given_up_per_1000 == pytest.approx(1000 / 201)


def test_waits_end_with_the_successful_attempt() -> None:
    light = Caller("light")
    jobs = [job(0, 1), job(0, 3), job(2, 2.5, light), job(4, None)]
    found = figures_of([sample(0, 0, 0), sample(10, 0, 0)], jobs, Measurement(0, 10))
    assert (found.wait_p50_seconds, found.wait_p99_seconds, found.light_p99_seconds) == (1, 3, 0.5)


def test_a_client_has_settled_when_it_uses_the_attainable_for_five_seconds() -> None:
    use = [0, 0, 0, 0, 0, 10, 20, 30, 40, 50, 60]  # nothing until 4 s
    samples = [sample(second, used, 10 * second, answers=used) for second, used in enumerate(use)]
    assert seconds_to_settle(samples, 0.0, 0) == 4.0
    assert seconds_to_settle(samples, 2.0, 0) == 2.0


def test_never_settled_is_infinite() -> None:
    samples = [sample(second, 5 * second, 10 * second, answers=second) for second in range(20)]
    assert seconds_to_settle(samples, 0.0, 0) == math.inf


def test_a_client_with_many_refusals_has_not_settled() -> None:
    samples = [sample(s, 10 * s, 10 * s, answers=10 * s, refusals=5 * min(s, 8)) for s in range(20)]
    assert seconds_to_settle(samples, 0.0, 0) == 8.0


def test_fairness_goes_by_weight() -> None:
    one, two = Caller("one"), Caller("two", weight=2.0)
    jobs = [job(0, 1, one), job(0, 2, two), job(0, 3, two)]
    samples = [sample(0, 0, 0), sample(10, 3, 100)]
    assert figures_of(samples, jobs, Measurement(0, 10), {"one", "two"}).jain == pytest.approx(1.0)


def test_a_caller_without_responses_counts_in_the_fairness() -> None:
    jobs = [job(0, 1, Caller("one"))]
    samples = [sample(0, 0, 0), sample(10, 3, 100)]
    assert figures_of(samples, jobs, Measurement(0, 10), {"one", "two"}).jain == pytest.approx(0.5)


def test_makespan_is_relative_to_the_minimum_that_the_limits_allow() -> None:
    measurement = Measurement(0, 10, burst_seconds=2.0, rates_per_second=(1, 1, 1), capacities=(2, 2, 2))
    jobs = [job(2.0, 2.0), job(2.0, 2.0), job(2.0, 3.0), job(2.0, 5.0), job(0.0, 9.0)]
    samples = [sample(0, 0, 0), sample(10, 0, 0)]
    assert figures_of(samples, jobs, measurement).makespan == pytest.approx(1.5)
    assert figures_of(samples, [*jobs, job(2.0, None)], measurement).makespan == math.inf


def test_the_worst_seed_may_miss_a_bound_by_a_third() -> None:
    runs = [figures_of([sample(0, 0, 0), sample(10, used, 1000)], [], Measurement(0, 10)) for used in (990, 985, 974)]
    (verdict,) = judge(Expectations(share=0.98), runs)
    assert verdict.passed
    (verdict,) = judge(
        Expectations(share=0.98),
        [*runs[:2], figures_of([sample(0, 0, 0), sample(10, 970, 1000)], [], Measurement(0, 10))],
    )
    assert not verdict.passed


def test_a_figure_that_is_missing_misses_its_bound() -> None:
    (verdict,) = judge(Expectations(makespan=1.05), [figures_of([sample(0, 0, 0)], [], Measurement(0, 10))])
    assert not verdict.passed


def test_shares_are_compared_with_those_of_one_process_seed_by_seed() -> None:
    def runs(*used: float) -> list[Figures]:
        return [figures_of([sample(0, 0, 0), sample(10, each, 100)], [], Measurement(0, 10)) for each in used]

    expected = Expectations(share_below_one_process=0.02)
    (verdict,) = judge(expected, runs(97, 89, 95), one_process=runs(98, 91, 96))
    assert verdict.median == pytest.approx(0.01)
    assert verdict.worst == pytest.approx(0.02)
    assert judge(expected, runs(97)) == []


def test_the_largest_window_is_what_exceeds_the_rate_for_a_time() -> None:
    assert most_in_a_window([(0, 1), (0, 1), (1, 1), (1, 3), (9, 4)], rate_per_second=1) == 5
    assert most_in_a_window([(number, 2) for number in range(10)], rate_per_second=1) == 11
    assert most_in_a_window([], rate_per_second=1) == 0


def test_the_largest_window_counts_refused_attempts_in_the_dimension_that_fits_worst() -> None:
    measurement = Measurement(0, 10, rates_per_second=(1, 10, 1), capacities=(4, 100, 1))
    record = RunRecord(samples=[sample(0, 0, 0), sample(10, 1, 1)], sent=[Sent(0, 1, 50), Sent(5, 1, 90)])
    assert figures(record, measurement).largest_window == 0.9
    changing = Measurement(0, 10, changes_seconds=(5,), rates_per_second=(1, 10, 1), capacities=(4, 100, 1))
    assert figures(record, changing).largest_window is None


def test_every_client_has_a_line_and_every_bound_a_verdict() -> None:
    run = figures_of([sample(0, 0, 0), sample(10, 99, 100, answers=1)], [], Measurement(0, 10))
    verdicts = {"tidegate": judge(Expectations(share=0.98), [run])}
    lines = scenario_lines({client: [run] for client in CLIENTS}, verdicts)
    assert len(lines) == len(CLIENTS) + 1
    assert "99.0|99.0" in lines[0]
    assert lines[-1] == "  PASS tidegate share: bound 0.98, median 0.99, worst 0.99"


def test_expectations_are_for_scenarios_that_exist() -> None:
    assert {"requests_bind", "flood", "ramp"} <= read_expectations().keys()
    assert {"four_processes_unequal", "competitor"} <= read_expectations(shared=True).keys()
    assert "four_processes_unequal" not in read_expectations()
