"""A Valkey server on a free port for a test."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.daemon import free_port

_READY_SECONDS = 20


@contextmanager
def valkey_server(directory: Path, *options: str) -> Iterator[int]:
    """Run a server without persistence in a directory, and yield its port when it answers."""
    program = shutil.which("valkey-server")
    assert program, "valkey-server is missing; on Debian: apt-get install --no-install-recommends valkey-server"
    port = free_port()
    output = directory / "valkey-server.log"
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory), *options]
    if "--cluster-enabled" in options:  # the default, 10,000 above the port, may be no port at all
        arguments += ["--cluster-port", str(free_port())]
    with output.open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while b"Ready to accept connections" not in output.read_bytes():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)
