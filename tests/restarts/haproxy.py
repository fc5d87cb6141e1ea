"""The load balancer of `deploy/`, in front of replicas on this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from restarts.nginx import wait_until_open
from support.daemon import free_port
from support.project import ROOT

__all__ = ["CONFIGURATION", "haproxy", "program"]

CONFIGURATION: Final = ROOT / "deploy/haproxy/haproxy.cfg"


def program() -> str:
    """The path of the program."""
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "haproxy is missing; on Debian: apt-get install --no-install-recommends haproxy"
    return found


@contextmanager
def haproxy(directory: Path, *services: int) -> Iterator[str]:
    """Runs the shipped configuration, for replicas on these ports, while a block runs. Yields its URL."""
    port = free_port()
    text = CONFIGURATION.read_text()
    servers = "\n".join(f"  server tidegate{each} 127.0.0.1:{each}" for each in services)
    for pattern, replacement in (
        (r"bind :8080", f"bind 127.0.0.1:{port}"),
        (r" +server-template .*", servers),
        (r" resolvers docker init-addr libc,none", ""),
    ):
        text, count = re.subn(pattern, replacement, text)
        assert count == 1, pattern
    file = directory / "haproxy.cfg"
    file.write_text(text)
    process = subprocess.Popen([program(), "-q", "-f", file], cwd=directory)
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
