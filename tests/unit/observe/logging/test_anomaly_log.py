"""What cannot be is said in the log, once in a while, and without a word of what was received."""

import logging

import pytest

from support.virtual_time import VirtualClock
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly
from tidegate.observe.logging.anomaly_log import AnomalyLog

CLOCK = "our clock stepped, or is not the upstream's: its dates are read by its own clock"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.name == "tidegate.anomalies"]
    caplog.clear()
    return said


def test_one_line_in_ten_minutes_for_each_kind_and_pool(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    log = AnomalyLog(clock)
    for _ in range(50):
        for pool in ("a", "b"):
            log.hear(Anomaly(pool, AnomalyKind.LIMITS))
        log.hear(Anomaly("a", AnomalyKind.CLOCK))
        clock.advance(1)
    first = lines(caplog)
    assert first == [
        "limit headers that cannot be were left out (pool a; 0 more since this was last said)",
        "limit headers that cannot be were left out (pool b; 0 more since this was last said)",
        f"{CLOCK} (pool a; 0 more since this was last said)",
    ]
    clock.advance(550)
    log.hear(Anomaly("a", AnomalyKind.LIMITS))
    assert lines(caplog) == ["limit headers that cannot be were left out (pool a; 49 more since this was last said)"]


@pytest.mark.parametrize("kind", AnomalyKind)
def test_every_kind_has_words_of_its_own(kind: AnomalyKind, caplog: pytest.LogCaptureFixture) -> None:
    AnomalyLog(VirtualClock()).hear(Anomaly("", kind))
    (line,) = lines(caplog)
    assert line.endswith("(pool none; 0 more since this was last said)")
    assert not line.startswith("something")


def test_another_kind_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    log = AnomalyLog(VirtualClock())
    log.hear(Anomaly("a", "invented"))
    assert lines(caplog) == ["something that cannot be was left out (pool a; 0 more since this was last said)"]


def test_it_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    AnomalyLog(VirtualClock()).hear(Anomaly("a", AnomalyKind.LEASE))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_invented_pools_do_not_fill_the_memory() -> None:
    log = AnomalyLog(VirtualClock())
    for number in range(2_500):
        log.hear(Anomaly(f"pool-{number}", AnomalyKind.LIMITS))
    assert len(log._said) <= 1_000
