"""A PostgreSQL server on a free port for tests."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

from support.daemon import free_port
from support.programs import output_of

_READY_SECONDS = 30
_names = count(1)


@dataclass
class PostgresqlServer:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://tidegate@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database, and return its URL."""
        name = f"test_{next(_names)}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """All processes of the server stand still while the block runs: the server hangs."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Run a server, and yield it when it answers. As root, it runs as the user `postgres` of Debian's package."""
    user = "postgres" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="tidegate-postgresql-"))
    if user is not None:
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    data = directory / "data"
    try:
        options = ("-D", data, "-A", "trust", "-U", "tidegate", "-E", "UTF8", "--no-sync")
        output_of(_program("initdb"), *options, user=user, cwd=directory)
        yield from _running(directory, data, user)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _running(directory: Path, data: Path, user: str | None) -> Iterator[PostgresqlServer]:
    port, output = free_port(), directory / "server.log"
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with output.open("wb") as log:
        process = subprocess.Popen(
            [_program("postgres"), "-D", data, *arguments], user=user, cwd=directory, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while b"ready to accept connections" not in output.read_bytes():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        yield PostgresqlServer(port, process)
    finally:
        process.send_signal(signal.SIGINT)  # ends all connections
        process.wait(timeout=20)


def _program(name: str) -> str:
    """Debian keeps the programs of a server out of the search path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which(name) or next((str(path / name) for path in folders if (path / name).exists()), None)
    assert found, f"{name} is missing; on Debian: apt-get install --no-install-recommends postgresql"
    return found
