"""Valkey servers that can be killed, stopped and started again: one, a pair under a Sentinel, a cluster."""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import valkey

from support.daemon import free_port

__all__ = ["Server", "cluster", "sentinel", "server"]

_READY_SECONDS = 20
_HIGHEST_PORT = 55_535


class Server:
    """One server on a port of its own. Its data outlive it only with the option `--appendonly yes`."""

    def __init__(self, directory: Path, *options: str, program: str = "valkey-server") -> None:
        found = shutil.which(program)
        assert found, f"{program} is missing; on Debian: apt-get install --no-install-recommends {program}"
        directory.mkdir()
        self.port = _free_port()
        self.directory = directory
        own = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(directory))
        self._command = [found, *options] if program == "valkey-sentinel" else [found, *own, *options]
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Any:  # most methods of the client are not typed
        return valkey.Valkey(port=self.port, socket_timeout=5)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            with contextlib.suppress(valkey.ConnectionError, valkey.BusyLoadingError):
                if self.client.ping():
                    return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def server(directory: Path, *options: str) -> Iterator[Server]:
    """Run a server. Its memory is the only place of its data, unless `--appendonly yes` is given."""
    running = Server(directory, *options)
    running.start()
    try:
        yield running
    finally:
        running.close()


@contextmanager
def sentinel(directory: Path) -> Iterator[tuple[str, Server]]:
    """Run a primary with a replica and a Sentinel that fails over within seconds. Yields the URL and the primary."""
    with ExitStack() as stack:
        primary = stack.enter_context(server(directory / "primary"))
        follows = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
        stack.enter_context(server(directory / "replica", *follows))
        file = directory / "sentinel.conf"
        watcher = Server(directory / "sentinel", str(file), program="valkey-sentinel")
        file.write_text(
            f"bind 127.0.0.1\nport {watcher.port}\ndir {directory / 'sentinel'}\n"
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\nsentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 5000\n"
        )
        watcher.start()
        stack.callback(watcher.close)
        _wait_until(lambda: watcher.client.sentinel_master("main")["num-slaves"] == 1)
        yield f"valkey+sentinel://127.0.0.1:{watcher.port}/main", primary


@contextmanager
def cluster(directory: Path, key: str) -> Iterator[tuple[str, Server]]:
    """Run a cluster of three primaries with a replica each. Yields the URL, and the primary that has `key`."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        nodes = [stack.enter_context(server(directory / f"node{number}", *options)) for number in range(6)]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        create = ["valkey-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, timeout=60)
        _wait_until(lambda: all(node.client.cluster("info")["cluster_state"] == "ok" for node in nodes))
        slot = nodes[0].client.execute_command("CLUSTER KEYSLOT", key)
        slots = nodes[0].client.execute_command("CLUSTER SLOTS")
        (port,) = (each[2][1] for each in slots if each[0] <= slot <= each[1])
        (holder,) = (node for node in nodes if node.port == port)
        _wait_until(lambda: holder.client.info("replication")["connected_slaves"] == 1)
        yield f"valkey+cluster://{','.join(addresses)}", holder


def _free_port() -> int:
    """A free port, 10,000 below another possible one: a node of a cluster uses both."""
    while (port := free_port()) > _HIGHEST_PORT:
        pass
    return port


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
