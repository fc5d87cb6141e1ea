"""Runs programs that serve HTTP on a free port during a test."""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_READY_SECONDS = 20


def free_port() -> int:
    """Find a free TCP port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def daemon(directory: Path, name: str, package: str, arguments: Callable[[str], list[str]]) -> Iterator[str]:
    """Run a program of a Debian package in a directory, and yield its base URL when `/-/ready` responds.

    `arguments` receives the address to listen on, `host:port`.
    """
    program = shutil.which(name)
    assert program, f"{name} is missing; on Debian: apt-get install --no-install-recommends {package}"
    address = f"127.0.0.1:{free_port()}"
    output = directory / f"{name}.log"
    with output.open("wb") as log:
        process = subprocess.Popen([program, *arguments(address)], cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(process, f"http://{address}/-/ready", output)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - ours
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{output.stem} did not start: {output.read_text()}")
