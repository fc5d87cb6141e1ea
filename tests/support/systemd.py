"""The part of systemd in tests: the socket for notifications, and socket activation."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.service_process import ServiceProcess, running

_ACTIVATE: Final = """
import os, sys
os.dup2(int(os.environ.pop("SOCKET")), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "tidegate.socket"}
os.execv(sys.executable, [sys.executable, "-m", "tidegate", *sys.argv[1:]])
"""
"""As systemd does it: the variables name the process that the program runs in."""


class NotifySocket:
    """Receives notifications.

    Attributes:
        address: the value of `NOTIFY_SOCKET`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)
        self._pending: list[list[str]] = []

    def messages(self) -> list[list[str]]:
        """The lines of each message since the last call."""
        found, self._pending = self._pending, []
        while True:
            try:
                found.append(self._socket.recv(4_096).decode().split("\n"))
            except BlockingIOError:
                return found

    def wait_for(self, line: str, seconds: float = 20) -> list[str]:
        """The next message that has this line. Earlier messages are dropped."""
        deadline = time.monotonic() + seconds
        while True:
            self._pending = self.messages()
            while self._pending:
                if line in (message := self._pending.pop(0)):
                    return message
            assert time.monotonic() < deadline, f"no {line}"
            time.sleep(0.01)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def notify_socket(address: str) -> Iterator[NotifySocket]:
    """A socket for the duration of a block."""
    made = NotifySocket(address)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def activated(directory: Path, listener: socket.socket, *arguments: str, **variables: str) -> Iterator[ServiceProcess]:
    """Runs a command that serves, as `running` does, with a listening socket passed to it."""
    with listener.dup() as inherited:
        inherited.set_inheritable(True)
        variables |= {"SOCKET": str(inherited.fileno())}
        with running(directory, *arguments, program=("-c", _ACTIVATE), **variables) as service:
            yield service
