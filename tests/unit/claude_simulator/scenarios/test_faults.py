"""The requests that a fault affects, and its error response."""

import random
from typing import Any

import pytest

from claude_simulator.scenarios.faults import MAX_ACTIVE_FAULTS, ActiveFaults, Fault, FaultKind, error_of


def make_faults(*faults: Fault, seed: int = 1) -> ActiveFaults:
    return ActiveFaults(faults, random.Random(seed), now_seconds=100)  # noqa: S311  # repeats, keeps no secret


def kinds(active: ActiveFaults, *moments: float) -> list[str | None]:
    return [fault.kind.value if (fault := active.next_fault(moment)) else None for moment in moments]


def test_a_fault_ends_after_its_count() -> None:
    faults = make_faults(Fault(kind=FaultKind.OVERLOADED, count=2))

    assert kinds(faults, 100, 101, 102) == ["overloaded", "overloaded", None]
    assert faults.listing(102) == []


def test_skip_lets_the_first_requests_pass() -> None:
    assert kinds(make_faults(Fault(kind=FaultKind.CUT, skip=2, count=1)), 100, 100, 100, 100) == [
        None,
        None,
        "cut",
        None,
    ]


def test_start_and_end_count_from_when_the_fault_was_added() -> None:
    faults = make_faults(Fault(kind=FaultKind.INTERNAL_ERROR, start_seconds=10, end_seconds=30))

    assert kinds(faults, 109, 110, 129.9, 130) == [None, "internal_error", "internal_error", None]


def test_the_fault_added_first_applies_first() -> None:
    faults = make_faults(Fault(kind=FaultKind.OVERLOADED, count=1))
    faults.add(Fault(kind=FaultKind.CUT, count=1), 100)

    assert kinds(faults, 100, 100, 100) == ["overloaded", "cut", None]


def test_a_probability_is_a_share_and_repeats_with_the_seed() -> None:
    runs = [kinds(make_faults(Fault(kind=FaultKind.OVERLOADED, probability=0.3), seed=7), *[100] * 1_000) for _ in "ab"]

    assert runs[0] == runs[1]
    assert 250 < sum(kind is not None for kind in runs[0]) < 350


def test_clear_removes_every_fault() -> None:
    faults = make_faults(Fault(kind=FaultKind.OVERLOADED))
    faults.clear()

    assert faults.next_fault(100) is None


def test_the_number_of_active_faults_is_bounded() -> None:
    faults = make_faults(*[Fault(kind=FaultKind.OVERLOADED, end_seconds=5)] * MAX_ACTIVE_FAULTS)
    with pytest.raises(ValueError, match=r"faults: 100 are in force; clear them before you add more"):
        faults.add(Fault(kind=FaultKind.CUT), 101)

    faults.add(Fault(kind=FaultKind.CUT), 106)
    assert faults.listing(106) == [{"kind": "cut", "probability": 1.0, "affected": 0, "left": None}]


def test_spend_limits_end_on_the_first_of_the_next_month() -> None:
    november, december = 1_795_498_270, 1_798_000_000
    messages = [
        str(error_of(Fault(kind=FaultKind.SPEND_LIMIT), unix_seconds=moment)) for moment in (november, december)
    ]

    assert messages == [
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC.",
    ]


def test_faults_inside_a_successful_response_have_no_error() -> None:
    without_error = {kind.value for kind in FaultKind if error_of(Fault(kind=kind), unix_seconds=0) is None}

    assert without_error == {
        *("bad_gateway", "origin_error", "slow_start", "slow_stream", "cut"),
        *("invalid_workflow", "unknown_content", "refusal", "max_tokens", "implausible_usage"),
    }


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
