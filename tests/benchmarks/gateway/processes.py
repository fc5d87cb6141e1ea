"""Processes pinned to a core, and their CPU time and memory."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["Process", "free_port", "running"]

_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
_STOP_SECONDS: Final = 10


class Process:
    """A process with its descendants."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        return sum(_cpu_ns(task) for pid in self._pids() for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9

    def resident_bytes(self) -> int:
        """Resident memory, including shared libraries."""
        return sum(_resident_bytes(pid) for pid in self._pids())

    def check(self) -> None:
        """Raise `RuntimeError` if it has ended."""
        if self._process.poll() is not None:
            said = self._output.read_text("utf-8", "replace")[-2_000:]
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.returncode}: {said}")

    def wait(self) -> None:
        """Wait until it ends."""
        self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Terminate it; kill it if it does not end."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _pids(self) -> list[int]:
        found, i = [self._process.pid], 0
        while i < len(found):
            for task in Path(f"/proc/{found[i]}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
            i += 1
        return found


@contextmanager
def running(
    command: Sequence[str], core: int, directory: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a command on a core, with its output in `output.txt`."""
    directory.mkdir(exist_ok=True)
    output = directory / "output.txt"
    with output.open("wb") as stream:
        started = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    process = Process(started, output)
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """Find a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_ns(task: Path) -> int:
    """CPU time of a thread, in nanoseconds if the kernel provides it, else in clock ticks."""
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return round((int(fields[11]) + int(fields[12])) * _TICK_SECONDS * 1e9)


def _resident_bytes(pid: int) -> int:
    kilobytes = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            kilobytes = int(line.split()[1])
    return kilobytes * 1024
