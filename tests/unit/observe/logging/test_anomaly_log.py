"""Anomalies are logged at a bounded rate, and without the value that was received."""

import logging

import pytest

from support.virtual_time import VirtualClock
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly
from tidegate.observe.logging.anomaly_log import AnomalyLog

CLOCK = "clock stepped, or differs from the upstream's: reading upstream dates by the upstream's clock"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.name == "tidegate.anomalies"]
    caplog.clear()
    return said


def test_one_line_in_ten_minutes_for_each_kind_and_pool(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    log = AnomalyLog(clock)
    for _ in range(50):
        for pool in ("a", "b"):
            log.log(Anomaly(pool, AnomalyKind.LIMITS))
        log.log(Anomaly("a", AnomalyKind.CLOCK))
        clock.advance(1)
    first = lines(caplog)
    assert first == [
        "implausible rate-limit headers ignored (pool a; 0 more suppressed)",
        "implausible rate-limit headers ignored (pool b; 0 more suppressed)",
        f"{CLOCK} (pool a; 0 more suppressed)",
    ]
    clock.advance(550)
    log.log(Anomaly("a", AnomalyKind.LIMITS))
    assert lines(caplog) == ["implausible rate-limit headers ignored (pool a; 49 more suppressed)"]


@pytest.mark.parametrize("kind", AnomalyKind)
def test_every_kind_has_words_of_its_own(kind: AnomalyKind, caplog: pytest.LogCaptureFixture) -> None:
    AnomalyLog(VirtualClock()).log(Anomaly("", kind))
    (line,) = lines(caplog)
    assert line.endswith("(pool none; 0 more suppressed)")
    assert not line.startswith("implausible value")


def test_another_kind_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    log = AnomalyLog(VirtualClock())
    log.log(Anomaly("a", "invented"))
    assert lines(caplog) == ["implausible value ignored (pool a; 0 more suppressed)"]


def test_it_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    AnomalyLog(VirtualClock()).log(Anomaly("a", AnomalyKind.LEASE))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_invented_pools_do_not_fill_the_memory() -> None:
    log = AnomalyLog(VirtualClock())
    for number in range(2_500):
        log.log(Anomaly(f"pool-{number}", AnomalyKind.LIMITS))
    assert len(log._logged) <= 1_000
