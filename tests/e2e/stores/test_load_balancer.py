"""Replicas behind the load balancer of `deploy/`, restarted one after the other: no call fails, and the limit holds."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from chaos.load import Clients, calling
from chaos.servers import server
from restarts.nginx import wait_until_open
from support.daemon import free_port
from support.project import ROOT
from support.service_process import ServiceProcess, running

pytestmark = pytest.mark.stores

_PER_MINUTE = 900
_NOTICE_SECONDS = "3"
_PROGRAMS = f"{os.environ['PATH']}:/usr/sbin"


@contextmanager
def load_balancer(directory: Path, *services: int) -> Iterator[str]:
    """Run the shipped configuration, for replicas on ports of this machine. Yields the URL."""
    program = shutil.which("haproxy", path=_PROGRAMS)
    assert program, "haproxy is missing; on Debian: apt-get install --no-install-recommends haproxy"
    port = free_port()
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
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
    process = subprocess.Popen([program, "-q", "-f", file], cwd=directory)
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_rolling_restarts_of_two_replicas_lose_nothing(tmp_path: Path) -> None:
    place = tmp_path / "simulator"
    place.mkdir()

    async def main() -> None:
        with ExitStack() as stack:
            store = stack.enter_context(server(tmp_path / "store"))
            limits = (f"--requests-per-minute={_PER_MINUTE}", "--input-tokens-per-minute=100000000")
            simulator = stack.enter_context(running(place, "simulator", *limits, "--per-token-seconds=0.05"))
            variables = {
                "ANTHROPIC_API_KEY": "any",
                "TIDEGATE_UPSTREAM_URL": simulator.url,
                "TIDEGATE_STORE_URL": f"valkey://127.0.0.1:{store.port}",
                "TIDEGATE_DRAIN_NOTICE_SECONDS": _NOTICE_SECONDS,
            }

            def start(name: str, port: str = "0") -> ServiceProcess:
                folder = tmp_path / name
                folder.mkdir()
                return stack.enter_context(running(folder, "serve", "--port", port, **variables))

            replicas = [start("a"), start("b")]
            ports = [each.url.rpartition(":")[2] for each in replicas]
            url = stack.enter_context(load_balancer(tmp_path, *map(int, ports)))
            clients = Clients(url, callers=6, streams=4, stream_tokens=60)
            async with calling(clients):
                await asyncio.sleep(2)
                for number, port in enumerate(ports):
                    replicas[number].process.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(replicas[number].process.wait, 40) == 0
                    replicas[number] = await asyncio.to_thread(start, f"again{number}", port)
                    await asyncio.sleep(2.5)  # the load balancer sees that it is ready
            assert not clients.lost, clients.lost
            assert len(clients.waits) > 50
            state = httpx2.get(f"{simulator.url}/simulator/state").json()
            assert all(pool["rate_limited"] == 0 for pool in state["pools"].values())

    asyncio.run(main())


def test_the_configuration_is_valid() -> None:
    program = shutil.which("haproxy", path=_PROGRAMS)
    assert program
    file = ROOT / "deploy/haproxy/haproxy.cfg"
    checked = subprocess.run([program, "-c", "-f", file], capture_output=True, text=True, check=False, timeout=20)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
