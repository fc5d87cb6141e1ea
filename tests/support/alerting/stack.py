"""Service, simulator, Prometheus with the short rules, and Alertmanager with the shipped configuration."""

import http.client
import json
import re
import shutil
import signal
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from support.daemon import daemon, free_port
from support.project import ROOT
from support.service_process import TIDEGATE, ServiceProcess, running
from tidegate.monitoring import ALERTMANAGER_FILE, RUNBOOKS_FOLDER
from tidegate.monitoring.dashboards.boards import BOARDS

PATIENCE_SECONDS = 60
"""For an alert to fire or resolve; the short rules need 4 to 45 s."""
DEPLOY = ROOT / "deploy"
RECEIVERS = {"critical": "pages", "warning": "tickets", "info": "nobody", "none": "watchdog"}
POOL = "sonnet-5-5"
MODEL = "claude-sonnet-5-5"
CALLERS = (DEPLOY / "stack/tidegate.toml").read_text()
"""`web-key` is interactive, `search-key` standard and `nightly-key` batch."""


class Stack:
    """Everything that an alert passes through, on free ports, and a client of it.

    Attributes:
        proved: alerts that were seen active, with the labels, links and receiver they should have, and then resolved.
    """

    def __init__(self, directory: Path, programs: ExitStack) -> None:
        self._directory = directory
        self._programs = programs
        self._services: dict[str, tuple[ServiceProcess, ExitStack]] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self.proved: set[str] = set()
        self.simulator = self.alertmanager = self.prometheus = ""

    # --- programs ---

    def start(
        self, simulator: Sequence[str], variables: Mapping[str, str], *, simulated: bool, clock_ahead: bool
    ) -> None:
        """Starts everything; ends when the first scrape has arrived and the Watchdog fires."""
        enter = self._programs.enter_context
        self._settings = dict(variables)
        self._program = (str(Path(__file__).with_name("clock_ahead.py")),) if clock_ahead else TIDEGATE
        self._arguments = ("--upstream", "simulator") if simulated else ()
        if not simulated:
            self.simulator = enter(running(self._folder("simulator"), "simulator", *simulator)).url
            self._settings |= {"ANTHROPIC_API_KEY": "sk-ant-fake", "TIDEGATE_UPSTREAM_URL": self.simulator}
        self.alertmanager = enter(
            daemon(self._directory, "prometheus-alertmanager", "prometheus-alertmanager", self._alertmanager_arguments)
        )
        shutil.copy(ALERTMANAGER_FILE, self._directory)
        self.serve("a")
        (self._directory / "prometheus.yml").write_text(json.dumps(self._prometheus_configuration()))
        self.scrape(*self.addresses)
        self.prometheus = enter(daemon(self._directory, "prometheus", "prometheus", self._prometheus_arguments))
        self.fires("Watchdog", "none")
        self.wait_for(lambda: self.query("tidegate_build_info"), "the first scrape")

    def serve(self, name: str, port: int | None = None) -> None:
        """Starts a replica, on this port if one is given."""
        own = ExitStack()
        service = own.enter_context(
            running(
                self._folder(name),
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
        """Kills a replica; gives the port that it had."""
        service, own = self._services.pop(name)
        own.close()
        return int(service.url.rpartition(":")[2])

    def restart(self, name: str) -> None:
        """The same replica, as a new process."""
        self.serve(name, self.stop(name))

    def wait_half_an_hour(self) -> None:
        """Puts the service's clock ahead by 31 minutes."""
        self._services["a"][0].process.send_signal(signal.SIGUSR1)

    @contextmanager
    def throttled(self, *, quota_seconds: float, stopped_seconds: float) -> Iterator[None]:
        """The service's process is stopped for a while each time it has used its share of the processor.

        That is what a container's CPU limit does. Counted in the processor's time and not on the clock, the
        process gets on as well on a busy machine, and is stopped in the midst of its own work on a fast one.
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
        """What Prometheus scrapes from now on."""
        file = self._directory / "targets.json"
        file.with_suffix(".new").write_text(json.dumps([{"targets": addresses}] if addresses else []))
        file.with_suffix(".new").rename(file)

    @property
    def addresses(self) -> list[str]:
        """`host:port` of every replica."""
        return [service.url.removeprefix("http://") for service, _ in self._services.values()]

    @property
    def service(self) -> str:
        """Base URL of the first replica."""
        return self._services["a"][0].url

    # --- a client ---

    def fault(self, kind: str, **fault: Any) -> None:
        """The simulator shows a fault from now on."""
        self._ask(f"{self.simulator}/simulator/faults", {"kind": kind, **fault})

    def clear(self) -> None:
        """The simulator shows no fault any more."""
        self._ask(f"{self.simulator}/simulator/faults", method="DELETE")

    def call(
        self,
        model: str = MODEL,
        *,
        path: str = "/v1/messages",
        body: Mapping[str, Any] | None = None,
        prompt: str = "Hi",
        max_tokens: int = 5,
        stream: bool = True,
        key: str = "any",
        timeout_seconds: float = 10,
        **headers: str,
    ) -> int:
        """One call; its status, 0 if the connection broke. `x_simulator_fault="…"` and the like are header fields."""
        message = {
            "model": model,
            "max_tokens": max_tokens,
            "stream": stream,
            "messages": [{"role": "user", "content": prompt}],
        }
        fields = {
            "anthropic-version": "2023-06-01",
            "x-api-key": key,
            "x-tidegate-timeout-seconds": str(timeout_seconds),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        with suppress(OSError, http.client.HTTPException):  # whatever comes of it is what the alerts are about
            return self._ask(self.service + path, body or message, fields, timeout_seconds=timeout_seconds + 30)
        return 0

    def configure(self, **limits: Any) -> None:
        """Sets limits at run time."""
        status = self._ask(f"{self.service}/api/system/rate-limiting/configure", limits)
        assert status == 200, status

    def together(self, count: int, **call: Any) -> list[int]:
        """So many calls at once; their statuses when all have ended."""
        with ThreadPoolExecutor(count) as callers:
            return list(callers.map(lambda _: self.call(**call), range(count)))

    @contextmanager
    def load(self, *calls: Mapping[str, Any], workers: int = 4, pause_seconds: float = 0.02) -> Iterator[None]:
        """Workers that make these calls one after the other, and begin again; they end with the block."""
        rhythm = calls or ({},)
        over, lock, made = threading.Event(), threading.Lock(), 0

        def work() -> None:
            nonlocal made
            while not over.is_set():
                with lock:
                    call, made = rhythm[made % len(rhythm)], made + 1
                self.call(**call)
                over.wait(pause_seconds)

        with ThreadPoolExecutor(workers) as pool:
            loads = [pool.submit(work) for _ in range(workers)]
            try:
                yield
            finally:
                over.set()
        for each in loads:
            each.result()

    @contextmanager
    def frozen(self, seconds: int, **call: Any) -> Iterator[None]:
        """A 429 keeps a pool closed for so long; the block begins when it is, and ends when the refused call has."""
        self.fault("rate_limited", count=1, retry_after_seconds=seconds)
        with ThreadPoolExecutor(1) as refused:
            refused.submit(self.call, timeout_seconds=seconds + 30, **call)
            self.wait_for(lambda: self.query("tidegate_pool_frozen == 1"), "a frozen pool")
            yield

    # --- what is seen ---

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What Prometheus finds for an expression now."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def scraped(self, metric: str, pools: int = 1) -> None:
        """Waits until a metric of so many pools was scraped: what a series begins with is no increase."""
        self.wait_for(lambda: len(self.query(f"count by (pool) ({metric})")) >= pools, f"a scrape of {metric}")

    def fires(self, name: str, severity: str = "warning", *, silenced: bool = False, **labels: str) -> None:
        """Waits until an alert is active in Alertmanager (or silenced by another one), and checks all of it."""
        state = "suppressed" if silenced else "active"
        wanted = {"alertname": name, "severity": severity, "job": "tidegate", **_labels(labels)}

        def found() -> dict[str, Any] | None:
            return next((each for each in self._alerts(wanted) if each["status"]["state"] == state), None)

        alert = self.wait_for(found, f"{wanted} to be {state}")
        assert alert["labels"] == wanted
        assert [each["name"] for each in alert["receivers"]] == [RECEIVERS[severity]]
        _check_annotations(alert["annotations"], wanted)
        if not silenced:
            self._seen.add((name, severity, labels.get("window", "")))

    def resolves(self, name: str, severity: str = "warning", **labels: str) -> None:
        """Waits until such an alert is over."""
        wanted = {"alertname": name, "severity": severity, **_labels(labels)}
        self.wait_for(lambda: not self._alerts(wanted), f"{wanted} to resolve")
        if (name, severity, labels.get("window", "")) in self._seen:
            self.proved.add(" ".join(filter(None, (name, severity, labels.get("window")))))

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits until something is true; gives it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for {what}; there are {self._all()}"
            time.sleep(0.2)
        return found

    # --- details ---

    def _alerts(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Alerts that have these labels and perhaps more."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts", timeout=10) as answer:  # noqa: S310 - ours
            alerts: list[dict[str, Any]] = json.load(answer)
        return [each for each in alerts if labels.items() <= each["labels"].items()]

    def _all(self) -> list[str]:
        return [f"{each['labels']} {each['status']['state']}" for each in self._alerts({})]

    def _folder(self, name: str) -> Path:
        folder = self._directory / name
        folder.mkdir(exist_ok=True)
        for file in self._directory.glob("*.toml"):
            shutil.copy(file, folder)
        return folder

    def _alertmanager_arguments(self, address: str) -> list[str]:
        listen = [f"--web.listen-address={address}", "--cluster.listen-address="]
        return [f"--config.file={ALERTMANAGER_FILE}", "--storage.path=alertmanager", *listen]

    def _prometheus_arguments(self, address: str) -> list[str]:
        resend = ["--rules.alert.resend-delay=1s", f"--web.listen-address={address}"]
        return ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", *resend]

    def _prometheus_configuration(self) -> dict[str, Any]:
        managers = [{"static_configs": [{"targets": [self.alertmanager.removeprefix("http://")]}]}]
        targets = [{"files": ["targets.json"], "refresh_interval": "1s"}]
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in (DEPLOY / "prometheus/rules").glob("*.e2e.yml")],
            "alerting": {"alertmanagers": managers},
            "scrape_configs": [{"job_name": "tidegate", "file_sd_configs": targets}],
        }

    def _ask(
        self,
        url: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        timeout_seconds: float = 30,
    ) -> int:
        data = None if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data, fields, method=method)  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - ours
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    """`class_` is a keyword's way to write the label `class`."""
    return {name.rstrip("_"): value for name, value in labels.items()}


def _check_annotations(annotations: Mapping[str, str], labels: Mapping[str, str]) -> None:
    name = labels["alertname"]
    assert annotations["runbook_url"].endswith(f"/{name}.md")
    assert (RUNBOOKS_FOLDER / f"{name}.md").exists()
    assert annotations["summary"].endswith(".")
    assert not re.search(r"{{|<no value>|<error|NaN", annotations["description"]), annotations
    dashboard = re.search(r"/d/([\w-]+)\?(.+)", annotations["dashboard_url"])
    assert dashboard, annotations
    assert dashboard[1] in {board.link.uid for board in BOARDS}
    filters = dict(part.split("=", 1) for part in dashboard[2].split("&"))
    assert filters["var-job"] == "tidegate"
    for variable, value in filters.items():
        # Alerts about all callers lead to the one that has the greatest part in them.
        wanted = labels.get(variable.removeprefix("var-"), "default" if variable == "var-caller" else None)
        assert value == wanted, annotations
    # Whoever follows the link sees the pool that the alert is about.
    assert filters.get("var-pool") == labels.get("pool")


@contextmanager
def stack(
    directory: Path,
    *,
    simulator: Sequence[str] = (),
    toml: str = "",
    variables: Mapping[str, str] | None = None,
    simulated: bool = False,
    clock_ahead: bool = False,
) -> Iterator[Stack]:
    """Runs everything while the block runs.

    Args:
        directory: an empty folder.
        simulator: arguments of the simulated Claude API.
        toml: the service's configuration file.
        variables: the service's environment variables.
        simulated: whether the service starts, and reports, its own simulator.
        clock_ahead: whether the service's clock can be put ahead.
    """
    (directory / "tidegate.toml").write_text(toml)
    with ExitStack() as programs:
        started = Stack(directory, programs)
        started.start(simulator, variables or {}, simulated=simulated, clock_ahead=clock_ahead)
        yield started
