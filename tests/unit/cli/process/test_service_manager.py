"""Notifications to systemd, over a socket of the test."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.systemd import NotifySocket, notify_socket
from support.virtual_time import VirtualClock, run_virtual
from tidegate.cli.process.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@tidegate-test-{uuid.uuid4()}"


@pytest.fixture
def receiver(address: str) -> Iterator[NotifySocket]:
    with notify_socket(address) as made:
        yield made


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    manager = ServiceManager.from_environment(environ)
    assert environ == {"HOME": "/"}
    assert (manager._address, manager._watchdog_seconds) == ("/s", 30)


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "3", "WATCHDOG_PID": str(os.getpid() + 1)}, {"WATCHDOG_USEC": "soon"}],
)
def test_without_a_watchdog_for_this_process_nothing_pings(
    variables: dict[str, str], receiver: NotifySocket, address: str
) -> None:
    manager = ServiceManager.from_environment({**variables, "NOTIFY_SOCKET": address})

    async def main() -> None:
        async with manager.watchdog():
            await asyncio.sleep(60)

    run_virtual(main(), VirtualClock())
    assert receiver.messages() == []


def test_outside_of_systemd_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager.from_environment({})
    manager.ready("serving")
    manager.stopping("draining", 1)
    assert caplog.records == []


def test_start_and_stop(receiver: NotifySocket, address: str) -> None:
    manager = ServiceManager(address)
    manager.ready("serving on http://127.0.0.1:8080")
    manager.stopping("draining: 3 open calls", 605)
    assert receiver.messages() == [
        ["READY=1", "STATUS=serving on http://127.0.0.1:8080"],
        ["STOPPING=1", "EXTEND_TIMEOUT_USEC=625000000", "STATUS=draining: 3 open calls"],
    ]


def test_a_reload(receiver: NotifySocket, address: str) -> None:
    manager = ServiceManager(address)
    manager.ready("serving")
    before = time.monotonic_ns() // 1_000
    with manager.reloading():
        (_, (reloading, since)) = receiver.messages()
    assert reloading == "RELOADING=1"
    name, _, microseconds = since.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1_000
    assert receiver.messages() == [["READY=1", "STATUS=serving"]]
    with pytest.raises(ValueError, match="wrong"), manager.reloading():
        raise ValueError("wrong")
    (_, (ready, status)) = receiver.messages()
    assert ready == "READY=1"
    assert status.startswith("STATUS=the last reload failed")


def test_the_watchdog_is_pinged_at_half_its_interval_unless_the_loop_is_blocked(
    receiver: NotifySocket, address: str
) -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with ServiceManager(address, 30).watchdog():
            await asyncio.sleep(44)
            assert receiver.messages() == [["WATCHDOG=1"]] * 3
            clock.advance(120)  # without a turn of the loop
            assert receiver.messages() == []
            await asyncio.sleep(1)
            assert receiver.messages() == [["WATCHDOG=1"]]
        await asyncio.sleep(60)
        assert receiver.messages() == []

    run_virtual(main(), clock)


def test_a_socket_without_a_reader_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = str(tmp_path / "notify")
    manager = ServiceManager(path)
    manager.ready("serving")
    manager.ready("serving")
    (line,) = caplog.messages
    assert line == f"systemd cannot be notified at {path}: No such file or directory"
    with notify_socket(path) as receiver:
        manager.ready("serving")
        assert len(receiver.messages()) == 1
    manager.ready("serving")
    assert len(caplog.messages) == 2
