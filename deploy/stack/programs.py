"""Starts the programs of the stack in order, watches them, and stops them."""

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
"""Generous, because a busy machine starts interpreters slowly."""
_STOP_SECONDS: Final = 10
"""After this time, a program that was asked to stop is killed."""
_SETTINGS: Final = ("TIDEGATE_", "ANTHROPIC_", "CLAUDE_", "MAX_RATE_LIMIT_", "OTEL_", "ROTEL_", "PHOENIX_")
"""Prefixes of the programs' variables. They are not inherited, so that no real key and no other collector is used."""


class StackError(Exception):
    """The stack cannot start, or a program ended. The message names the program and the reason."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run.

    Attributes:
        name: name in messages and of the log file.
        command: program and arguments.
        ready_url: returns a 2xx status once the program is ready; None starts the next program at once.
        variables: environment variables, in addition to those of this process that are not settings of Tidegate.
        shown: whether its output goes to the terminal instead of a log file.
    """

    name: str
    command: Sequence[str]
    ready_url: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False


def require_programs(packages: Mapping[str, str]) -> None:
    """Raises `StackError` with all missing programs and their Debian packages."""
    missing = [name for name in packages if shutil.which(name) is None]
    if missing:
        install = " ".join(packages[name] for name in missing)
        raise StackError(
            f"make stack needs {' and '.join(missing)} on the PATH; "
            f"on Debian: apt-get install --no-install-recommends {install}"
        )


def require_free_port(option: str, port: int) -> None:
    """Raises `StackError` if the loopback port is in use: the readiness check would reach another program."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(f"port {port} is in use; choose another: python -m deploy.stack {option} PORT") from error


@contextmanager
def running(programs: Sequence[Program], directory: Path) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """Runs programs while the block runs. Each starts when the previous one is ready; they stop in reverse order.

    Args:
        programs: the programs.
        directory: their working directory, which also holds their logs, `NAME.log`.

    Raises:
        StackError: a program ended, or was not ready in time.
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
    """Never returns. Raises `StackError` with the last log lines of the first program that ends."""
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
            # A new session does not receive the terminal's Ctrl-C: this process stops the programs in order.
            start_new_session=True,
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores further Ctrl-C while the block runs, so that no program is left running."""
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
        except OSError:  # includes HTTP errors
            time.sleep(0.1)
    raise StackError(f"{name} was not ready at {url} within {_READY_SECONDS} s; its log: {directory / name}.log")


def _require_alive(started: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    for name, process in started.items():
        if process.poll() is not None:
            last = (directory / f"{name}.log").read_text(errors="replace").splitlines()[-10:]
            raise StackError("\n".join((f"{name} ended with code {process.returncode}", *last)))
