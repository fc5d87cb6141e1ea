"""The real service under a test's part of systemd: notifications, watchdog, credentials, and socket activation."""

import json
import os
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

import httpx2
import pytest

from support.service_process import running
from support.systemd import activated, notify_socket

SIMULATED = ("serve", "--upstream", "simulator")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_hears_of_start_reload_watchdog_and_stop(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "tidegate.toml"
    file.write_text("max_calls = 10\n", encoding="utf-8")
    address = str(tmp_path / "notify") if kind == "path" else f"@tidegate-{uuid.uuid4()}"
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000", "TIDEGATE_DRAIN_SECONDS": "100"}
    with notify_socket(address) as systemd, running(tmp_path, *SIMULATED, **variables) as service:
        ready = systemd.wait_for("READY=1")
        assert ready[1] == f"STATUS=serving on {service.url}"
        assert httpx2.get(f"{service.url}/readyz").status_code == 200
        for _ in range(3):
            assert systemd.wait_for("WATCHDOG=1") == ["WATCHDOG=1"]

        before = time.monotonic_ns() // 1_000
        os.kill(service.process.pid, signal.SIGHUP)
        _, since = systemd.wait_for("RELOADING=1")
        assert before <= int(since.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1_000
        assert systemd.wait_for("READY=1") == ready
        file.write_text("max_calls = 0\n", encoding="utf-8")
        assert httpx2.post(f"{service.url}/api/system/reload").status_code == 422
        systemd.wait_for("RELOADING=1")
        assert systemd.wait_for("READY=1")[1].startswith("STATUS=the last reload failed")

        os.kill(service.process.pid, signal.SIGTERM)
        assert systemd.wait_for("STOPPING=1")[1:] == [
            "EXTEND_TIMEOUT_USEC=120000000",
            "STATUS=draining: 0 open calls when it began",
        ]
        assert service.process.wait(timeout=20) == 0


def test_the_watchdog_hears_nothing_of_a_service_that_hangs(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with (
        notify_socket(address) as systemd,
        running(tmp_path, *SIMULATED, NOTIFY_SOCKET=address, WATCHDOG_USEC="200000") as service,
    ):
        systemd.wait_for("WATCHDOG=1")
        os.kill(service.process.pid, signal.SIGSTOP)
        time.sleep(0.1)
        systemd.messages()
        time.sleep(0.5)
        assert systemd.messages() == []
        os.kill(service.process.pid, signal.SIGCONT)
        systemd.wait_for("WATCHDOG=1")


def test_credentials_and_the_state_folder_come_from_systemd(tmp_path: Path) -> None:
    credentials, state = tmp_path / "credentials", tmp_path / "state"
    credentials.mkdir()
    (credentials / "admin_key").write_text("from-a-file\n", encoding="utf-8")
    variables = {"TIDEGATE_ADMIN_KEY_FILE": str(credentials / "admin_key"), "STATE_DIRECTORY": str(state)}
    with running(tmp_path, *SIMULATED, **variables) as service:
        answer = httpx2.post(f"{service.url}/api/system/reload", headers={"x-api-key": "from-a-file"})
        assert answer.status_code == 200
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(timeout=20) == 0
        assert (state / "state").is_file()
        assert "from-a-file" not in service.printed()


class Clients:
    """Four clients that connect anew for each request, until they are stopped."""

    def __init__(self, url: str) -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(httpx2.get(f"{self._url}/healthz", timeout=60).status_code)
            except httpx2.HTTPError as error:
                self.failures.append(repr(error))

    def wait_for_more(self) -> None:
        """Waits for ten more answers."""
        wanted, deadline = len(self.answers) + 10, time.monotonic() + 60
        while len(self.answers) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_socket_of_systemd_refuses_no_connection_while_the_service_restarts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as early:
            early.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            with activated(tmp_path, listener, *SIMULATED) as service:
                assert service.url == f"http://127.0.0.1:{port}"
                assert early.recv(65_536).startswith(b"HTTP/1.1 200")
                clients = Clients(service.url)
                clients.wait_for_more()
                os.kill(service.process.pid, signal.SIGTERM)
                assert service.process.wait(timeout=20) == 0
            with activated(tmp_path, listener, *SIMULATED):
                clients.wait_for_more()
                clients.stop()
    assert set(clients.answers) == {200}
    assert clients.failures == []


def test_an_open_service_does_not_take_a_socket_that_others_can_reach(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - this is what is refused
        with pytest.raises(AssertionError, match="did not start"), activated(tmp_path, listener, *SIMULATED):
            pass
        text = (tmp_path / "output.txt").read_text(encoding="utf-8")
        assert "TIDEGATE_HOST: got '0.0.0.0', allowed is 127.0.0.1" in text
        assert json.dumps(text).count("Traceback") == 0
