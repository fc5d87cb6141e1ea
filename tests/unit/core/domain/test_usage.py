"""The usage of an answer, and the part of it that counts against the limits."""

from typing import Any, ClassVar

import pytest

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.usage import Usage, reports_output, settled_cost

FULL = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 40}


def test_all_fields() -> None:
    assert Usage.from_json({**FULL, "service_tier": "standard"}) == Usage(10, 20, 30, 40)


def test_a_batch_is_one_from_its_first_report_on() -> None:
    start = Usage.from_json({**FULL, "service_tier": "batch"})
    assert start == Usage(10, 20, 30, 40, batch=True)
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40, batch=True)


def test_fast_mode_is_reported_once_and_then_remembered() -> None:
    start = Usage.from_json({**FULL, "speed": "fast"})
    assert start == Usage(10, 20, 30, 40, fast=True)
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40, fast=True)
    assert not Usage.from_json({**FULL, "speed": "standard"}).fast


def test_cache_writes_for_an_hour_are_part_of_all_writes() -> None:
    start = Usage.from_json(
        FULL | {"cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}}
    )
    assert start == Usage(10, 20, 30, 40, 10)
    assert Usage(10, 20, 30, 40, 40).possible(None) == Usage(10, 20, 30, 40, 40)
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40, 10)
    assert Usage.from_json({"cache_creation": [1]}) == Usage()


def test_what_was_asked_for_in_a_batch_says_so() -> None:
    start = Usage.from_json({**FULL, "service_tier": "batch"})
    assert start == Usage(10, 20, 30, 40, batch=True)
    assert Usage.from_json({"output_tokens": 99}, before=start).batch
    assert not Usage.from_json({**FULL, "service_tier": ["batch"]}).batch


def test_nothing_said_is_nothing_used() -> None:
    assert Usage.from_json({}) == Usage(0, 0, 0, 0)


def test_a_stream_keeps_its_input_and_takes_the_final_output() -> None:
    start = Usage.from_json({**FULL, "output_tokens": 1})
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40)


@pytest.mark.parametrize("senseless", [-1, -(10**30), True, False, "12", 12.0, float("nan"), [3], {}])
def test_a_senseless_figure_keeps_what_was_known(senseless: Any) -> None:
    said = dict.fromkeys(FULL, senseless)
    assert Usage.from_json(said) == Usage()
    assert Usage.from_json(said, before=Usage(1, 2, 3, 4)) == Usage(1, 2, 3, 4)
    for name in FULL:
        assert Usage.is_odd({**FULL, name: senseless})
    assert not reports_output(said)


def test_figures_that_are_missing_or_null_are_not_odd() -> None:
    assert not Usage.is_odd(FULL)
    assert not Usage.is_odd({"output_tokens": 0, "input_tokens": None, "service_tier": -1})
    assert reports_output({"output_tokens": 0})
    assert not reports_output({"output_tokens": None})


class TestWhatIsPossible:
    USAGE: ClassVar = Usage(10, 20, 30, 40, 10)

    @pytest.mark.parametrize("max_tokens", [None, 20, 128_000])
    def test_possible_usage_is_returned_unchanged(self, max_tokens: int | None) -> None:
        assert self.USAGE.possible(max_tokens) is self.USAGE

    def test_no_answer_is_longer_than_max_tokens(self) -> None:
        assert self.USAGE.possible(19) == Usage(10, 0, 30, 40, 10)
        assert Usage(10, 1).possible(0) == Usage(10, 1)
        assert Usage(10, 2).possible(0) == Usage(10, 0)

    def test_no_answer_is_longer_than_any_context_window(self) -> None:
        assert Usage(1, 1_000_000).possible(None) == Usage(1, 1_000_000)
        assert Usage(1, 1_000_001).possible(None) == Usage(1, 0)

    def test_no_prompt_is_longer_than_a_context_window_except_as_server_tools_read_it_several_times(self) -> None:
        most = Usage(400_000, 20, 10_000_000, 600_000)
        assert most.possible(20) is most
        for more in (
            most._replace(input_tokens=400_001),
            most._replace(cache_creation_tokens=600_001),
            most._replace(cache_read_tokens=10_000_001),
            Usage(10**30, 20),
        ):
            assert more.possible(20) == Usage(0, 20)

    def test_cache_writes_for_an_hour_are_no_more_than_all(self) -> None:
        assert Usage(1, 1, 1, 1, 2).possible(1) == Usage(1, 1, 1, 1, 0)


class TestWhatIsCharged:
    ESTIMATE: ClassVar = Cost(1, 500, 200)

    def test_a_settled_cost_counts_the_usage(self) -> None:
        assert settled_cost(Usage(10, 20, 30, 40), self.ESTIMATE, 1_000) == Cost(1, 50, 20)
        assert settled_cost(Usage(0, 20, 30), self.ESTIMATE) == Cost(1, 0, 20), "all of it was read from the cache"
        assert settled_cost(Usage(30, 20, 30), self.ESTIMATE) == Cost(1, 30, 20), "half of it was"

    def test_a_settled_cost_counts_the_estimate_where_usage_is_missing(self) -> None:
        assert settled_cost(Usage(0, 20), self.ESTIMATE) == Cost(1, 500, 20)
        assert settled_cost(Usage(10, 0), self.ESTIMATE) == Cost(1, 10, 200)
        assert settled_cost(Usage(), self.ESTIMATE) == self.ESTIMATE
        assert settled_cost(Usage(), Cost(1)) == Cost(1), "nothing is known, and nothing was expected"

    def test_or_the_text_that_came_if_that_is_more(self) -> None:
        assert settled_cost(Usage(10, 0), self.ESTIMATE, 201) == Cost(1, 10, 201)


def test_nothing_is_a_figure_too() -> None:
    assert Usage.from_json(dict.fromkeys(FULL, 0), before=Usage(1, 2, 3, 4)) == Usage()


def test_cache_reads_do_not_count_against_the_limits() -> None:
    assert Usage(10, 20, 30, 40).cost() == Cost(requests=1, input_tokens=50, output_tokens=20)
