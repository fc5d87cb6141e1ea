"""Reports the state of the service to systemd, by the protocol of sd_notify(3)."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Final, NoReturn, Self

from tidegate.cli.process.background import background

__all__ = ["ServiceManager"]

logger = logging.getLogger("tidegate.service")

_SEND_SECONDS: Final = 0.2
"""systemd queues hundreds of messages. A full queue must not stop the event loop for long."""
_STOP_MARGIN_SECONDS: Final = 20.0
"""For the last writes after the calls have ended, before systemd kills the process."""


class ServiceManager:
    """Sends notifications to systemd. Does nothing if the process was not started by it with `Type=notify`.

    Args:
        address: path of a Unix datagram socket; `@` at its beginning stands for the abstract namespace.
        watchdog_seconds: systemd restarts the service after this time without a ping; None: it expects none.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self._watchdog_seconds = watchdog_seconds
        self._is_failing = False
        self._ready_status = ""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Takes the variables of systemd out of the environment, so that no child process sends notifications."""
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_watched = microseconds.isdecimal() and process in {"", str(os.getpid())}
        return cls(address, int(microseconds) / 1e6 if is_watched else None)

    def ready(self, status: str) -> None:
        """Reports that the service is reachable. `status` is one line, which `systemctl status` shows."""
        self._ready_status = status
        self._notify("READY=1", f"STATUS={status}")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Reports a reload of the configuration for the duration of a block."""
        status = "the last reload failed, the configuration before it is in effect; see the log"
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")
        try:
            yield
            status = self._ready_status
        finally:
            self._notify("READY=1", f"STATUS={status}")

    def stopping(self, status: str, within_seconds: float) -> None:
        """Reports that the service stops, and takes at most `within_seconds` until its last call has ended."""
        microseconds = round((within_seconds + _STOP_MARGIN_SECONDS) * 1e6)
        self._notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={microseconds}", f"STATUS={status}")

    @contextlib.asynccontextmanager
    async def watchdog(self) -> AsyncIterator[None]:
        """Pings at half the watchdog's interval while the block runs and the event loop is not blocked."""
        if self._watchdog_seconds is None:
            yield
            return
        async with background(self._ping(self._watchdog_seconds / 2)):
            yield

    async def _ping(self, interval_seconds: float) -> NoReturn:
        while True:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(interval_seconds)

    def _notify(self, *lines: str) -> None:
        """Sends one message. A failure is logged once; the service works without systemd's attention."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.connect(address)
                sender.sendall("\n".join(lines).encode())
        except OSError as error:
            if not self._is_failing:
                logger.warning("systemd cannot be notified at %s: %s", self._address, error.strerror or error)
            self._is_failing = True
        else:
            self._is_failing = False
