"""Runs the programs of the stack: starts them in order, says which one ended, and ends all of them."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Program", "StackError", "require_free_port", "require_programs", "running", "wait_until_one_ends"]

_READY_SECONDS: Final = 40
"""A loaded machine starts an interpreter slowly."""
_STOP_SECONDS: Final = 10
"""Then a program that was asked to end is killed."""
_SETTINGS: Final = ("TIDEGATE_", "ANTHROPIC_", "CLAUDE_", "MAX_RATE_LIMIT_")
"""Prefixes of the service's own variables: the stack is the same whatever is set, and never spends with a real key."""


class StackError(Exception):
    """The stack cannot start, or one of its programs ended; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run.

    Attributes:
        name: names its log, and the program in messages.
        command: program and arguments.
        ready_url: answers 200 once the program serves; `None`: it serves nothing.
        variables: environment variables, over those of this process that are no settings of Tidegate.
        shown: its output goes to the terminal instead of a log.
    """

    name: str
    command: Sequence[str]
    ready_url: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False


def require_programs(packages: Mapping[str, str]) -> None:
    """Raise `StackError` with every program that is not there, and the Debian package that has it."""
    missing = [name for name in packages if shutil.which(name) is None]
    if missing:
        install = " ".join(packages[name] for name in missing)
        raise StackError(
            f"make stack needs {' and '.join(missing)} on the PATH; "
            f"on Debian: apt-get install --no-install-recommends {install}"
        )


def require_free_port(option: str, port: int) -> None:
    """Raise `StackError` if somebody listens on this loopback port: readiness would be asked of a stranger."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(f"port {port} is taken; choose another: python -m deploy.stack {option} PORT") from error


@contextmanager
def running(programs: Sequence[Program], directory: Path) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """Run programs while the block runs, each started when the one before is ready; the last to start ends first.

    Args:
        programs: what to run.
        directory: where they run, and where each one's output is kept, as `NAME.log`.

    Raises:
        StackError: one ended, or was not ready in time.
    """
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for program in programs:
            started[program.name] = _start(program, directory)
            if program.ready_url:
                _wait_until_ready(program.name, program.ready_url, started, directory)
        yield started
    finally:
        with _undisturbed():
            for process in reversed(started.values()):
                _stop(process)


def wait_until_one_ends(started: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    """Return never; raise `StackError` with the last words of the first program that ends."""
    while True:
        _require_alive(started, directory)
        time.sleep(0.5)


def _start(program: Program, directory: Path) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    with (directory / f"{program.name}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - commands of this package
            program.command,
            cwd=directory,
            env={**inherited, **program.variables},
            stdin=subprocess.DEVNULL,
            stdout=None if program.shown else log,
            stderr=None if program.shown else subprocess.STDOUT,
            # Ctrl-C in a terminal reaches every program of the session: this process alone decides who ends when.
            start_new_session=True,
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore a second Ctrl-C while the block runs: it must not leave a program behind."""
    handlers = {ending: signal.signal(ending, signal.SIG_IGN) for ending in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for ending, handler in handlers.items():
            signal.signal(ending, handler)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(name: str, url: str, started: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        _require_alive(started, directory)
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own, on loopback
                return
        except OSError:  # an HTTP error is one, too
            time.sleep(0.1)
    raise StackError(f"{name} did not answer at {url} within {_READY_SECONDS} s; its log: {directory / name}.log")


def _require_alive(started: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    for name, process in started.items():
        if process.poll() is not None:
            last = (directory / f"{name}.log").read_text(errors="replace").splitlines()[-10:]
            raise StackError("\n".join((f"{name} ended with code {process.returncode}", *last)))
