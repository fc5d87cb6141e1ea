"""Runs `python -m tidegate …` as a process, without the settings and files of this environment."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.fork_server import ForkServer, fork_server

TIDEGATE = ("-m", "tidegate")
_NOT_INSTALLED = str(Path(__file__).with_name("not_installed"))
"""Shadows modules that only development tools need. Importing them would take 8 % of a start."""
READY_SECONDS = 40
"""Starting an interpreter is slow on a busy machine."""


_fork_server: ForkServer | None = None


@dataclass
class ServiceProcess:
    process: subprocess.Popen[bytes]
    output: Path
    url: str = ""

    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def place(self, name: str) -> str:
        """The URL in the greeting for a name, such as `upstream`."""
        found = re.search(rf"^  {name} +(http\S+)", self.printed(), re.MULTILINE)
        assert found, self.printed()
        return found[1]


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings of the service, and with these variables."""
    foreign = ("TIDEGATE_", "ANTHROPIC_", "CLAUDE_", "MAX_RATE_LIMIT")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join(filter(None, (_NOT_INSTALLED, inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, **variables}


def run_to_end(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = _start(TIDEGATE, arguments, directory, environment(**variables), stdout, stderr)
        try:
            process.wait(READY_SECONDS)
        finally:
            process.kill()
            process.wait()
        for stream in (stdout, stderr):
            stream.seek(0)
        printed = stdout.read().decode(), stderr.read().decode()
    return subprocess.CompletedProcess(arguments, process.returncode, *printed)


@contextmanager
def forked_services() -> Iterator[None]:
    """Fork the processes of this module from one that has imported everything, for the duration of a block."""
    global _fork_server  # noqa: PLW0603 - one for all tests of a process
    with fork_server() as _fork_server:
        yield
    _fork_server = None


@contextmanager
def running(
    directory: Path, *arguments: str, program: Sequence[str] = TIDEGATE, **variables: str
) -> Iterator[ServiceProcess]:
    """Run a command that serves, on a free port unless `--port` is given. Yields when its greeting has been printed.

    `program` has the arguments for the Python interpreter.
    """
    output = directory / "output.txt"
    port = () if "--port" in arguments else ("--port", "0")
    with output.open("wb") as stream:
        given = environment(**{"TIDEGATE_DRAIN_NOTICE_SECONDS": "0", **variables})
        process = _start(program, (*arguments, *port), directory, given, stream, stream)
    service = ServiceProcess(process, output)
    try:
        service.url = _wait_for_url(service)
        yield service
    finally:
        process.kill()
        process.wait()


def _start(
    program: Sequence[str],
    arguments: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    if _fork_server is not None and program is TIDEGATE:
        return _fork_server.start(arguments, directory, variables, stdout, stderr)
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=directory,
        env=variables,
        stdout=stdout,
        stderr=stderr,
        close_fds=False,  # those that are inheritable are meant
    )


def _wait_for_url(service: ServiceProcess) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"Claude API .*?(http://\S+)", service.printed())
        if found:
            return found[1]
        if service.process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"did not start: {service.printed()}")
