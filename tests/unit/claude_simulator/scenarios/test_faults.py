"""Which request a fault befalls, and what it answers."""

import random
from typing import Any

import pytest

from claude_simulator.scenarios.faults import MAX_ACTIVE_FAULTS, Fault, FaultBoard, FaultKind, error_of, fault_kind


def make_board(*faults: Fault, seed: int = 1) -> FaultBoard:
    return FaultBoard(faults, random.Random(seed), now_seconds=100)  # noqa: S311  # repeats, keeps no secret


def kinds(board: FaultBoard, *moments: float) -> list[str | None]:
    return [fault.kind.value if (fault := board.decide(moment)) else None for moment in moments]


def test_a_count_ends() -> None:
    board = make_board(Fault(kind=FaultKind.OVERLOADED, count=2))

    assert kinds(board, 100, 101, 102) == ["overloaded", "overloaded", None]
    assert board.listing(102) == []


def test_skip_lets_the_first_requests_pass() -> None:
    assert kinds(make_board(Fault(kind=FaultKind.CUT, skip=2, count=1)), 100, 100, 100, 100) == [
        None,
        None,
        "cut",
        None,
    ]


def test_a_schedule_counts_from_when_the_fault_was_told() -> None:
    board = make_board(Fault(kind=FaultKind.INTERNAL_ERROR, start_seconds=10, end_seconds=30))

    assert kinds(board, 109, 110, 129.9, 130) == [None, "internal_error", "internal_error", None]


def test_the_first_fault_told_wins_and_the_next_follows() -> None:
    board = make_board(Fault(kind=FaultKind.OVERLOADED, count=1))
    board.tell(Fault(kind=FaultKind.CUT, count=1), 100)

    assert kinds(board, 100, 100, 100) == ["overloaded", "cut", None]


def test_a_probability_is_a_share_and_repeats_with_the_seed() -> None:
    runs = [kinds(make_board(Fault(kind=FaultKind.OVERLOADED, probability=0.3), seed=7), *[100] * 1_000) for _ in "ab"]

    assert runs[0] == runs[1]
    assert 250 < sum(kind is not None for kind in runs[0]) < 350


def test_clear_takes_all_back() -> None:
    board = make_board(Fault(kind=FaultKind.OVERLOADED))
    board.clear()

    assert board.decide(100) is None


def test_the_board_is_bounded_but_forgets_what_is_over() -> None:
    board = make_board(*[Fault(kind=FaultKind.OVERLOADED, end_seconds=5)] * MAX_ACTIVE_FAULTS)
    with pytest.raises(ValueError, match=r"faults: 100 are in force; clear them"):
        board.tell(Fault(kind=FaultKind.CUT), 101)

    board.tell(Fault(kind=FaultKind.CUT), 106)
    assert board.listing(106) == [{"kind": "cut", "probability": 1.0, "befallen": 0, "left": None}]


@pytest.mark.parametrize(
    ("kind", "status", "error_type", "error_code", "headers"),
    [
        ("rate_limited", 429, "rate_limit_error", None, {"retry-after": "7", "x-should-retry": "true"}),
        ("rate_limited_bare", 429, "rate_limit_error", None, {}),
        (
            "ramp_limited",
            429,
            "rate_limit_error",
            "ramp_limit_exceeded",
            {"retry-after": "7", "x-should-retry": "true"},
        ),
        ("spend_cap", 429, "rate_limit_error", "enforced_spend_limit_reached", {}),
        ("spend_limit", 400, "invalid_request_error", None, {}),
        ("overloaded", 529, "overloaded_error", None, {}),
        ("stream_error", 529, "overloaded_error", None, {}),
        ("internal_error", 500, "api_error", None, {}),
        ("gateway_timeout", 504, "timeout_error", None, {}),
    ],
)
def test_errors_are_those_of_the_api(
    kind: str, status: int, error_type: str, error_code: str | None, headers: dict[str, str]
) -> None:
    error = error_of(Fault(kind=FaultKind(kind), retry_after_seconds=7), unix_seconds=0)

    assert error is not None
    assert (error.status, error.error_type, error.error_code) == (status, error_type, error_code)
    assert error.headers() == headers


def test_spend_limits_end_on_the_first_of_the_next_month() -> None:
    november, december = 1_795_498_270, 1_798_000_000
    messages = [
        str(error_of(Fault(kind=FaultKind.SPEND_LIMIT), unix_seconds=moment)) for moment in (november, december)
    ]

    assert messages == [
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC.",
    ]


def test_faults_of_the_answer_are_no_errors() -> None:
    in_the_answer = {"bad_gateway", "slow_start", "slow_stream", "cut", "invalid_workflow", "novelties", "refusal"}
    in_the_answer.add("max_tokens")

    assert {kind.value for kind in FaultKind if error_of(Fault(kind=kind), unix_seconds=0) is None} == in_the_answer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", 0),
        ("probability", 1.1),
        ("probability", float("nan")),
        ("count", 0),
        ("skip", -1),
        ("start_seconds", -1),
        ("start_seconds", float("inf")),
        ("end_seconds", 0),
        ("end_seconds", float("nan")),
        ("delay_seconds", -1),
        ("delay_seconds", 3_601),
        ("retry_after_seconds", -1),
        ("after_events", -1),
    ],
)
def test_a_value_outside_its_range_names_field_value_and_range(field: str, value: float) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=rf"^{field}: {value!r} was given; .* is allowed$"):
        Fault(kind=FaultKind.CUT, **changes)


def test_an_unknown_kind_lists_all() -> None:
    with pytest.raises(ValueError, match=r"kind: 'overload' was given; allowed are rate_limited, .*max_tokens"):
        fault_kind("overload")
