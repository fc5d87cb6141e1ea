"""Log lines of the shared store: one per change, and none without."""

import asyncio
import contextlib
import logging

import pytest

from support.snapshots import shared_status
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.ports.store_status import SharedStatus
from tidegate.observe.logging.store_log import StoreLog, log_store_changes


def lines(caplog: pytest.LogCaptureFixture, *statuses: SharedStatus) -> list[str]:
    log = StoreLog("valkey://cache")
    with caplog.at_level(logging.INFO, "tidegate.store"):
        for status in statuses:
            log.log(status)
    return [f"{record.levelname} {record.message}" for record in caplog.records]


def test_the_start_and_nothing_more_while_nothing_changes(caplog: pytest.LogCaptureFixture) -> None:
    status = shared_status(is_leader=True)
    assert lines(caplog, status, status, status) == [
        "INFO sharing limits in valkey://cache: 2 replicas",
        "INFO this replica leads",
    ]


def test_changes_of_the_leader_and_of_the_replicas(caplog: pytest.LogCaptureFixture) -> None:
    follows = shared_status(leader_changes=1)
    leads = shared_status(is_leader=True, leader_changes=2)
    assert lines(caplog, follows, leads, shared_status(leader_changes=3), shared_status(leader_changes=4, replicas=1))[
        1:
    ] == [
        "INFO this replica leads",
        "INFO this replica does not lead any more",
        "INFO another replica has taken the lead",
        "INFO 1 replica share the limits",
    ]


def test_a_lost_store(caplog: pytest.LogCaptureFixture) -> None:
    degraded = shared_status(is_up=False, is_degraded=True, silent_seconds=0.3)
    refusing = shared_status(is_up=False, is_refusing=True, silent_seconds=30.2)
    assert lines(caplog, shared_status(), degraded, degraded, refusing, shared_status())[1:] == [
        "ERROR the shared store valkey://cache does not answer: this replica continues with its share of the limits",
        "ERROR the shared store valkey://cache is lost for 30 s: refusing calls",
        "WARNING the shared store valkey://cache is back",
    ]


def test_the_status_is_watched_until_the_end(caplog: pytest.LogCaptureFixture) -> None:
    statuses = iter([shared_status(), shared_status(is_leader=True)])

    async def watch() -> None:
        with contextlib.suppress(StopIteration, RuntimeError):
            await asyncio.wait_for(log_store_changes("valkey://cache", lambda: next(statuses)), 10)

    with caplog.at_level(logging.INFO, "tidegate.store"):
        run_virtual(watch(), VirtualClock())
    assert [record.message for record in caplog.records][1:] == ["this replica leads"]
