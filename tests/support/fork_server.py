"""Starts `python -m tidegate` as a fork of a process that has imported everything: imports take a second of CPU time.

A forked process has its own environment, folder and output. It is a child of the process that asked for it.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

_PR_SET_CHILD_SUBREAPER: Final = 36
"""From Linux's `prctl.h`. Orphans below such a process become its children."""
_REQUEST_BYTES: Final = 1 << 17
_MODULES: Final = (
    "tidegate.cli.commands",
    "tidegate.cli.serve",
    "claude_simulator.http.app",
    "pydantic.v1",  # FastAPI imports it for its first route
    "tidegate.ledger.ledger",
    "alembic.command",
    "uvloop",
)
"""What a service and a simulator import before they are ready, directly or not."""


class ForkServer:
    """Forks processes of the service. It starts when the first one is asked for."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        """Start a process with these arguments for the `tidegate` command."""
        if self._connection is None:
            self._connection = self._connect(environment)
        request = {"arguments": list(arguments), "directory": str(directory), "environment": dict(environment)}
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [stdout.fileno(), stderr.fileno()])
            pid = self._connection.recv(_REQUEST_BYTES)
        finally:
            prctl(_PR_SET_CHILD_SUBREAPER, 0)
        return _Adopted(int(pid), ["tidegate", *arguments])

    def _connect(self, environment: Mapping[str, str]) -> socket.socket:
        own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-P", __file__, str(its.fileno())]
            self._server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
        return own

    def close(self) -> None:
        """End the server. The processes that it forked go on."""
        if self._connection is not None and self._server is not None:
            self._connection.close()
            self._server.wait()


class _Adopted(subprocess.Popen[bytes]):
    """A child that another process has forked."""

    def __init__(self, pid: int, command: Sequence[str]) -> None:
        self._adopted = pid
        super().__init__(command)

    def _execute_child(self, *_: object) -> None:
        """Take the process as it is, where `Popen` starts one."""
        self.pid = self._adopted
        self._child_created = True


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    """A server for the duration of a block."""
    server = ForkServer()
    try:
        yield server
    finally:
        server.close()


def _import_everything() -> None:
    gc.disable()  # collecting takes a tenth of the time
    for module in _MODULES:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()


def _next_process(connection: socket.socket) -> None:
    """Fork a process for each request. Returns in each of them."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 2)
        if not message:
            sys.exit()
        pid_read, pid_written = os.pipe()
        if between := os.fork():
            os.waitpid(between, 0)  # its child is an orphan now
            connection.send(os.read(pid_read, 100))
            for descriptor in (*descriptors, pid_read, pid_written):
                os.close(descriptor)
        elif service := os.fork():
            os.write(pid_written, str(service).encode())
            os._exit(0)
        else:
            for descriptor in (pid_read, pid_written):
                os.close(descriptor)
            connection.close()
            _become(descriptors, **json.loads(message))
            return


def _become(outputs: list[int], arguments: list[str], directory: str, environment: dict[str, str]) -> None:
    for descriptor, standard in zip(outputs, (1, 2), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


def main() -> None:
    """Serve, and become `python -m tidegate` in each process that is forked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and they end this process
    _import_everything()
    _next_process(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from tidegate.cli import main as tidegate

    tidegate()


if __name__ == "__main__":
    main()
