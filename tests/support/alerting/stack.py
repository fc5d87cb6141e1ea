"""Service, simulator, Prometheus with its rules, and Alertmanager with the shipped configuration."""

import json
import resource
import shutil
import signal
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from support.alerting.annotations import check_annotations
from support.alerting.client import Client
from support.alerting.pager import pager
from support.daemon import daemon, free_port
from support.project import ROOT
from support.service_process import TIDEGATE, ServiceProcess, running
from support.valkey_server import valkey_server
from tidegate.monitoring import ALERTMANAGER_FILE

PATIENCE_SECONDS = 60
"""Timeout for an alert to fire or resolve; the short rules need 4 to 45 s."""
DEPLOY = ROOT / "deploy"
RECEIVERS = {"critical": "pages", "warning": "tickets", "info": "nobody", "none": "watchdog"}
POOL = "sonnet-5-5"
CALLERS = (DEPLOY / "stack/tidegate.toml").read_text()
"""`web-key` is interactive, `search-key` standard and `nightly-key` batch."""


class Stack(Client):
    """The whole alerting pipeline on free ports, and a client of the service.

    Attributes:
        proved: Alerts that fired with the right labels, links and receiver, and resolved.
        delays: Seconds from the call of `fires` until Prometheus fired each alert.
    """

    def __init__(self, directory: Path, programs: ExitStack) -> None:
        self._directory = directory
        self._programs = programs
        self._services: dict[str, tuple[ServiceProcess, ExitStack]] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self.proved: set[str] = set()
        self.delays: dict[str, float] = {}
        self.simulator = self.alertmanager = self.prometheus = ""
        self.store_port = 0
        self.short_rules = True

    @property
    def interval_seconds(self) -> int:
        """Interval of scrapes and evaluations."""
        return 1 if self.short_rules else 15

    # --- programs ---

    def start(
        self, simulator: Sequence[str], variables: Mapping[str, str], *, simulated: bool, clock_ahead: bool
    ) -> None:
        """Start everything, and wait until the first scrape has arrived and the Watchdog fires."""
        enter = self._programs.enter_context
        self._settings = dict(variables)
        self._program = (str(Path(__file__).with_name("clock_ahead.py")),) if clock_ahead else TIDEGATE
        self._arguments = ("--upstream", "simulator") if simulated else ()
        if not simulated:
            self._upstream = enter(running(self.folder("simulator"), "simulator", *simulator))
            self.simulator = self._upstream.url
            self._settings |= {"ANTHROPIC_API_KEY": "sk-ant-fake", "TIDEGATE_UPSTREAM_URL": self.simulator}
        self._pager = enter(pager())
        shutil.copy(ALERTMANAGER_FILE, self._directory)
        (self._directory / "urls").mkdir()
        (self._directory / "urls/pages").write_text(self._pager.url)
        self.alertmanager = enter(
            daemon(self._directory, "prometheus-alertmanager", "prometheus-alertmanager", self._alertmanager_arguments)
        )
        self.serve("a")
        (self._directory / "prometheus.yml").write_text(json.dumps(self._prometheus_configuration()))
        self.scrape(*self.addresses)
        self.prometheus = enter(daemon(self._directory, "prometheus", "prometheus", self._prometheus_arguments))
        self.fires("Watchdog", "none")
        self.wait_for(lambda: self.query("tidegate_build_info"), "the first scrape")

    def serve(self, name: str, port: int | None = None) -> None:
        """Start a replica, on a port if one is given."""
        own = ExitStack()
        service = own.enter_context(
            running(
                self.folder(name),
                "serve",
                *self._arguments,
                "--port",
                str(port or free_port()),
                program=self._program,
                **self._settings,
            )
        )
        self._programs.callback(own.close)
        self._services[name] = (service, own)
        if self._arguments:
            self.simulator = service.place("upstream")

    def stop(self, name: str) -> int:
        """Kill a replica, and return its port."""
        service, own = self._services.pop(name)
        own.close()
        return int(service.url.rpartition(":")[2])

    def restart(self, name: str) -> None:
        """Kill a replica, and start it on the same port as a supervisor would."""
        port, killed_seconds = self.stop(name), time.time()
        self.serve(name, port)
        started = f"process_start_time_seconds > {killed_seconds - 1}"  # the kernel rounds it
        self.wait_for(lambda: self.query(started), "a scrape of the new process")

    def lose_upstream(self) -> None:
        """Kill the simulator: its port refuses connections."""
        self._upstream.process.kill()
        self._upstream.process.wait()

    def pause_store(self, seconds: float) -> None:
        """Let the shared store answer nobody for a while."""
        self._tell_store(f"CLIENT PAUSE {round(1000 * seconds)} ALL", "+OK")

    @contextmanager
    def lead_held(self) -> Iterator[None]:
        """Let nobody lead, although the shared store answers."""
        self._tell_store("SET {tidegate}:lead nobody", "+OK")
        yield
        self._tell_store("DEL {tidegate}:lead", ":1")

    def _tell_store(self, command: str, answer: str) -> None:
        with socket.create_connection(("127.0.0.1", self.store_port), timeout=10) as connection:
            connection.sendall(f"{command}\r\n".encode())
            assert connection.recv(100).decode().startswith(answer)

    def reload(self, name: str) -> None:
        """Let a replica read its configuration again."""
        self._services[name][0].process.send_signal(signal.SIGHUP)

    def drain(self, name: str) -> None:
        """Let a replica end its calls and then itself, as an orchestrator does."""
        process = self._services[name][0].process
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let the service write no file beyond its first kilobyte, as if the disk were full."""
        process = self._services["a"][0].process.pid
        before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1_024, before[1]))
        try:
            yield
        finally:
            resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    def wait_half_an_hour(self) -> None:
        """Advance the service's clock by 31 minutes."""
        self._services["a"][0].process.send_signal(signal.SIGUSR1)

    @contextmanager
    def throttled(self, *, quota_seconds: float, stopped_seconds: float) -> Iterator[None]:
        """Stop the service's process for a while each time it has used its share of CPU time.

        This imitates a container's CPU limit. The share is CPU time, so the process makes progress on a busy machine,
        and is stopped within its work on a fast one.
        """
        process = self._services["a"][0].process
        used = Path(f"/proc/{process.pid}/schedstat")
        over = threading.Event()

        def used_seconds() -> float:
            return int(used.read_text().split()[0]) / 1e9

        def throttle() -> None:
            while not over.is_set():
                stop_at_seconds = used_seconds() + quota_seconds
                while used_seconds() < stop_at_seconds and not over.wait(0.001):
                    pass
                process.send_signal(signal.SIGSTOP)
                over.wait(stopped_seconds)
                process.send_signal(signal.SIGCONT)

        thread = threading.Thread(target=throttle)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def scrape(self, *addresses: str) -> None:
        """Set the targets of Prometheus."""
        file = self._directory / "targets.json"
        file.with_suffix(".new").write_text(json.dumps([{"targets": addresses}] if addresses else []))
        file.with_suffix(".new").rename(file)

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every replica."""
        return [url.removeprefix("http://") for url in self.urls]

    @property
    def urls(self) -> list[str]:
        """Base URL of every replica."""
        return [service.url for service, _ in self._services.values()]

    def url_of(self, name: str) -> str:
        """Base URL of a replica."""
        return self._services[name][0].url

    @property
    def service(self) -> str:
        """Base URL of the first replica."""
        return self._services["a"][0].url

    @contextmanager
    def frozen(self, seconds: int, **call: Any) -> Iterator[None]:
        """Freeze a pool by a 429. The block starts when it is frozen, and ends when the refused call has ended."""
        self.fault("rate_limited", count=1, retry_after_seconds=seconds)
        with ThreadPoolExecutor(1) as refused:
            refused.submit(self.call, timeout_seconds=seconds + 30, **call)
            self.wait_for(lambda: self.query("tidegate_pool_frozen == 1"), "a frozen pool")
            yield

    # --- checks ---

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Query Prometheus."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def scraped(self, metric: str, pools: int = 1) -> None:
        """Wait until a metric of these pools was scraped: the first sample of a series is not an increase."""
        self.wait_for(lambda: len(self.query(f"count by (pool) ({metric})")) >= pools, f"a scrape of {metric}")

    def fires(
        self, name: str, severity: str = "warning", *, silenced: bool = False, most: str = "default", **labels: str
    ) -> None:
        """Wait until an alert is active in Alertmanager (or inhibited by another one), and check it.

        `most` is the caller with the largest share, to which an alert about all callers links.
        """
        asked_seconds, state = time.time(), "suppressed" if silenced else "active"
        wanted = {"alertname": name, "severity": severity, "job": "tidegate", **_labels(labels)}

        def found() -> dict[str, Any] | None:
            return next((each for each in self._alerts(wanted) if each["status"]["state"] == state), None)

        alert = self.wait_for(found, f"{wanted} to be {state}")
        assert alert["labels"] == wanted
        assert [each["name"] for each in alert["receivers"]] == [RECEIVERS[severity]]
        check_annotations(alert["annotations"], wanted, most)
        if not silenced:
            self._seen.add((name, severity, labels.get("window", "")))
            # Prometheus' own clock: when an evaluation made it fire, and not when this thread got to see it.
            fired_seconds = datetime.fromisoformat(alert["startsAt"]).timestamp()
            proof = " ".join(filter(None, (name, severity, labels.get("window"))))
            self.delays.setdefault(proof, max(0.0, fired_seconds - asked_seconds))

    @property
    def paged(self) -> set[str]:
        """Names of the alerts that have paged."""
        return self._pager.paged

    @property
    def fired(self) -> set[str]:
        """Names of the alerts that Prometheus has fired, whether others inhibited them or not."""
        found = self.query('max by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {each["metric"]["alertname"] for each in found}

    def silent(self, severity: str, *, but: str = "") -> None:
        """Check that no other alert of this severity is active in Alertmanager."""
        active = [
            each["labels"] for each in self._alerts({"severity": severity}) if each["status"]["state"] == "active"
        ]
        assert {each["alertname"] for each in active} <= {but}, active

    def stays_silent(self, *names: str, seconds: float, but: Iterable[str] = ()) -> None:
        """Check that none of these alerts fires for a while; without names, none at all but some."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            active = {each["labels"]["alertname"] for each in self._alerts({})} - {"Watchdog", *but}
            assert not (active.intersection(names) if names else active), self._all()
            time.sleep(0.5)

    def resolves(self, name: str, severity: str = "warning", **labels: str) -> None:
        """Wait until an alert is resolved."""
        wanted = {"alertname": name, "severity": severity, **_labels(labels)}
        self.wait_for(lambda: not self._alerts(wanted), f"{wanted} to resolve")
        if (name, severity, labels.get("window", "")) in self._seen:
            self.proved.add(" ".join(filter(None, (name, severity, labels.get("window")))))

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until a condition is true, and return its value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for {what}; there are {self._all()}"
            time.sleep(0.2)
        return found

    # --- details ---

    def _alerts(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Alerts with at least these labels."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts", timeout=10) as answer:  # noqa: S310 - ours
            alerts: list[dict[str, Any]] = json.load(answer)
        return [each for each in alerts if labels.items() <= each["labels"].items()]

    def _all(self) -> list[str]:
        return [f"{each['labels']} {each['status']['state']}" for each in self._alerts({})]

    def folder(self, name: str) -> Path:
        folder = self._directory / name
        folder.mkdir(exist_ok=True)
        for file in self._directory.glob("*.toml"):
            shutil.copy(file, folder)
        return folder

    def _alertmanager_arguments(self, address: str) -> list[str]:
        listen = [f"--web.listen-address={address}", "--cluster.listen-address="]
        return [f"--config.file={self._directory / ALERTMANAGER_FILE.name}", "--storage.path=alertmanager", *listen]

    def _prometheus_arguments(self, address: str) -> list[str]:
        resend = ["--rules.alert.resend-delay=1s", f"--web.listen-address={address}"]
        return ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", *resend]

    def _prometheus_configuration(self) -> dict[str, Any]:
        managers = [{"static_configs": [{"targets": [self.alertmanager.removeprefix("http://")]}]}]
        targets = [{"files": ["targets.json"], "refresh_interval": "1s"}]
        interval, kind = f"{self.interval_seconds}s", ".e2e.yml" if self.short_rules else ".yml"
        return {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(DEPLOY / f"prometheus/rules/tidegate-{name}{kind}") for name in ("recording", "alerts")],
            "alerting": {"alertmanagers": managers},
            "scrape_configs": [{"job_name": "tidegate", "file_sd_configs": targets}],
        }


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Replace `class_` by the label `class`, which is a keyword."""
    return {name.rstrip("_"): value for name, value in labels.items()}


@contextmanager
def stack(
    directory: Path,
    *,
    simulator: Sequence[str] = (),
    toml: str = "",
    variables: Mapping[str, str] | None = None,
    simulated: bool = False,
    clock_ahead: bool = False,
    store: bool = False,
    kind: type[Stack] = Stack,
    short_rules: bool = True,
) -> Iterator[Stack]:
    """Run everything.

    Args:
        directory: An empty folder.
        simulator: Arguments of the simulated Claude API.
        toml: The service's configuration file.
        variables: The service's environment variables.
        simulated: Whether the service starts its own simulator.
        clock_ahead: Whether the service's clock can be advanced.
        store: Whether replicas share a store.
        kind: The type of the stack.
        short_rules: Whether the rules are those with shorter periods, evaluated each second, or the shipped ones.
    """
    (directory / "tidegate.toml").write_text(toml)
    with ExitStack() as programs:
        started = kind(directory, programs)
        started.short_rules = short_rules
        if store:
            started.store_port = programs.enter_context(valkey_server(directory))
            variables = {"TIDEGATE_STORE_URL": f"valkey://127.0.0.1:{started.store_port}", **(variables or {})}
        started.start(simulator, variables or {}, simulated=simulated, clock_ahead=clock_ahead)
        yield started
