"""The logic of the script that shows the limiter on the real clock: its verdicts and its drawing."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from support.project import ROOT

_SCRIPT = ROOT / "service/services/dsl_generator/test_rate_limiting.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("rate_limiting_script", _SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        patch.setattr(sys, "path", list(sys.path))
        spec.loader.exec_module(module)
        yield module


def _admissions(script: ModuleType, *at_seconds: float) -> list[Any]:
    return [script.Admission(caller, at) for caller, at in enumerate(at_seconds, start=1)]


@pytest.mark.parametrize(
    ("measured_seconds", "hit"), [(2.99, False), (2.996, True), (3.0, True), (3.2, True), (3.26, False)]
)
def test_a_duration_may_be_a_little_late_and_never_early(
    script: ModuleType,
    measured_seconds: float,
    hit: bool,  # noqa: FBT001  # a parameter of the table
) -> None:
    assert script.takes("a token", measured_seconds, 3.0).hit is hit


def test_an_exact_figure_is_exact(script: ModuleType) -> None:
    assert script.is_exactly("the rate", 0.1 * 3, 0.3, "requests").hit
    assert not script.is_exactly("the rate", 0.302, 0.3, "requests").hit


def test_a_check_shows_what_was_measured_beside_what_was_expected(script: ModuleType) -> None:
    hit, miss = script.is_exactly("the rate", 54.0, 54.0, "a minute"), script.takes("a token", 1.0, 3.0)
    assert str(hit).split() == ["ok", "the", "rate", "measured", "54.000", "expected", "54", "a", "minute"]
    assert str(miss).split() == ["MISS", "a", "token", "measured", "1.000", "expected", "2.995", "to", "3.25", "s"]


def test_the_timeline_shows_who_waited_how_long(script: ModuleType) -> None:
    first, second, third = script.timeline(_admissions(script, 0.0, 1.0, 2.0))
    assert first == "  caller  1 |#" + " " * 59 + "|  0.000 s"
    assert second == "  caller  2 |" + "-" * 30 + "#" + " " * 29 + "|  1.000 s"
    assert third == "  caller  3 |" + "-" * 59 + "#|  2.000 s"


def test_a_timeline_without_waiting_is_drawn_too(script: ModuleType) -> None:
    assert script.timeline([]) == []
    assert script.timeline(_admissions(script, 0.0)) == ["  caller  1 |#" + " " * 59 + "|  0.000 s"]


def test_a_perfect_queue_passes_every_check(script: ModuleType) -> None:
    checks = script.schedule_checks(_admissions(script, 0.0, 0.0, 0.5, 1.0), burst=2, spacing_seconds=0.5)
    assert [check.hit for check in checks] == [True] * 5


@pytest.mark.parametrize(
    ("at_seconds", "missed"),
    [
        ((0.0, 0.6, 0.6, 1.0), "the first 2 come at once"),
        ((0.0, 0.0, 0.5, 1.4), "then one every 0.5 s: the last one comes"),
        ((0.0, 0.0, 0.4, 1.0), "earliest against that schedule"),
        ((0.0, 0.0, 0.8, 1.0), "latest against that schedule"),
    ],
)
def test_a_queue_off_its_schedule_is_a_miss(script: ModuleType, at_seconds: tuple[float, ...], missed: str) -> None:
    checks = script.schedule_checks(_admissions(script, *at_seconds), burst=2, spacing_seconds=0.5)
    assert missed in [check.what for check in checks if not check.hit]


def test_a_queue_out_of_order_is_a_miss(script: ModuleType) -> None:
    overtaken = [script.Admission(2, 0.0), script.Admission(1, 0.5)]
    checks = script.schedule_checks(overtaken, burst=1, spacing_seconds=0.5)
    assert [check.what for check in checks if not check.hit] == ["served in the order in which they came"]


@pytest.mark.parametrize(("rate", "status"), [(54.0, 0), (53.0, 1)])
def test_the_exit_code_tells_of_a_miss(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rate: float, status: int
) -> None:
    async def part() -> list[Any]:
        """A part with one figure."""
        return [script.is_exactly("the rate", rate, 54.0, "requests/minute")]

    monkeypatch.setattr(script, "PARTS", [("A part", part)])
    assert script.main() == status
    printed = capsys.readouterr().out
    assert "1. A part. A part with one figure." in printed
    assert f"{1 - status} of 1 figures are as expected" in printed


def test_a_missing_dependency_is_reported_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.dsl_generator.rate_limiter", None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("rate_limiting_script", _SCRIPT)
    assert spec
    assert spec.loader
    with pytest.raises(SystemExit, match=r"run `make run` once in the checkout, then start this script"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
