"""What an answer says it used, and what counts against the limits."""

from typing import Any

import pytest

from tidegate.core.dimension import Cost
from tidegate.core.usage import Usage

FULL = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 40}


def test_all_fields() -> None:
    assert Usage.from_json({**FULL, "service_tier": "standard"}) == Usage(10, 20, 30, 40)


def test_cache_writes_for_an_hour_are_part_of_all_writes() -> None:
    start = Usage.from_json(
        FULL | {"cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}}
    )
    assert start == Usage(10, 20, 30, 40, 10)
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40, 10)
    assert Usage.from_json({"cache_creation": [1]}) == Usage()


def test_nothing_said_is_nothing_used() -> None:
    assert Usage.from_json({}) == Usage(0, 0, 0, 0)


def test_a_stream_keeps_its_input_and_takes_the_final_output() -> None:
    start = Usage.from_json({**FULL, "output_tokens": 1})
    assert Usage.from_json({"output_tokens": 99}, before=start) == Usage(10, 99, 30, 40)


@pytest.mark.parametrize("senseless", [-1, 10**9, True, False, None, "12", 12.0, float("nan"), [3], {}])
def test_a_senseless_figure_keeps_what_was_known(senseless: Any) -> None:
    said = dict.fromkeys(FULL, senseless)
    assert Usage.from_json(said) == Usage()
    assert Usage.from_json(said, before=Usage(1, 2, 3, 4)) == Usage(1, 2, 3, 4)


def test_the_largest_sane_figure_counts() -> None:
    assert Usage.from_json({"input_tokens": 100_000_000}).input_tokens == 100_000_000
    assert Usage.from_json({"input_tokens": 100_000_001}).input_tokens == 0


def test_cache_reads_do_not_count_against_the_limits() -> None:
    assert Usage(10, 20, 30, 40).cost() == Cost(requests=1, input_tokens=50, output_tokens=20)
