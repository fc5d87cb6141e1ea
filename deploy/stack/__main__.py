"""`python -m deploy.stack`, or `make stack`: runs the whole stack locally under simulated load, until Ctrl-C."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.stack.configuration import write_configuration
from deploy.stack.programs import (
    Program,
    StackError,
    require_free_port,
    require_programs,
    running,
    wait_until_one_ends,
)
from deploy.stack.receiver import printing_receiver
from deploy.stack.telemetry import TOOLS, service_variables, telemetry_programs, why_missing

_HERE: Final = Path(__file__).parent
_PORTS: Final = {"service": 8080, "simulator": 8090, "prometheus": 9090, "alertmanager": 9093}
"""Default ports of the programs."""
_TELEMETRY_PORTS: Final = {"collector": 4318, "traces": 6006}
"""Default ports of the collector (OTLP over HTTP) and the trace view."""
_PACKAGES: Final = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
"""Required programs, and the Debian package of each."""
_LIMITS: Final = (
    *("--requests-per-minute", "120"),
    *("--input-tokens-per-minute", "60000"),
    *("--output-tokens-per-minute", "24000"),
)
"""Enough for the normal load, but not for the flood."""
_GREETING: Final = """The stack is up:
  service       http://{service}  (metrics: http://{service}/metrics)
  simulator     http://{simulator}
  Prometheus    http://{prometheus}  (alerts: http://{prometheus}/api/v1/alerts; Debian's has no pages)
  Alertmanager  http://{alertmanager}
{telemetry}
  logs          {directory}
For the dashboards, start Grafana 11 or newer from this directory with these variables:
  TIDEGATE_PROMETHEUS_URL=http://{prometheus}
  TIDEGATE_DASHBOARDS="$PWD/dashboards/json"
  GF_PATHS_PROVISIONING="$PWD/deploy/grafana/provisioning"
Ctrl-C stops everything. Phases of the load, and alerts with their receivers:"""
_TELEMETRY: Final = """\
  traces        http://{traces}  (needs a minute to start; one trace: http://{traces}/redirects/traces/TRACE_ID)
  trace ids     http://{prometheus}/api/v1/query_exemplars?query=tidegate_request_duration_seconds_bucket
  collector     http://{collector}  (OTLP; it counts what it receives in collector.log)"""
_NO_TELEMETRY: Final = "  traces        none: {reason}"


def _programs(addresses: Mapping[str, str], phase_seconds: float, tools: Path | None) -> list[Program]:
    """The programs of the stack, each after those that it needs; without `tools`, no collector and no trace view."""
    tidegate = (sys.executable, "-m", "tidegate")
    service, simulator = (f"http://{addresses[name]}" for name in ("service", "simulator"))
    port = {name: address.rpartition(":")[2] for name, address in addresses.items()}
    return [
        *(telemetry_programs(addresses, tools) if tools else ()),
        Program(
            "simulator",
            (*tidegate, "simulator", "--port", port["simulator"], *_LIMITS),
            ready_url=f"{simulator}/simulator/state",
        ),
        Program(
            "service",
            (*tidegate, "serve", "--port", port["service"]),
            ready_url=f"{service}/healthz",
            variables={
                "ANTHROPIC_API_KEY": "for-the-simulator",
                "TIDEGATE_UPSTREAM_URL": simulator,
                "TIDEGATE_CONFIG": str(_HERE / "tidegate.toml"),
                "TIDEGATE_DRAIN_NOTICE_SECONDS": "0",  # Ctrl-C needs no notice to a load balancer
                **(service_variables(addresses["collector"]) if tools else {}),
            },
        ),
        Program(
            "alertmanager",
            (
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address={addresses['alertmanager']}",
                "--cluster.listen-address=",  # no cluster
            ),
            ready_url=f"http://{addresses['alertmanager']}/-/ready",
        ),
        Program(
            "prometheus",
            (
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
                "--enable-feature=exemplar-storage",
                f"--web.listen-address={addresses['prometheus']}",
            ),
            ready_url=f"http://{addresses['prometheus']}/-/ready",
        ),
        Program(
            "load",
            (
                *(sys.executable, str(_HERE / "load.py"), "--service", service, "--simulator", simulator),
                *("--phase-seconds", str(phase_seconds)),
            ),
            shown=True,
        ),
    ]


def _run(given: argparse.Namespace) -> None:
    """Runs the stack until Ctrl-C.

    Raises:
        StackError: a requirement is missing, or a program ended.
    """
    require_programs(_PACKAGES)
    reason = why_missing(given.tools)
    used = _PORTS if reason else {**_PORTS, **_TELEMETRY_PORTS}
    ports: dict[str, int] = {name: getattr(given, f"{name}_port") for name in used}
    for name, port in ports.items():
        require_free_port(f"--{name}-port", port)
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    with tempfile.TemporaryDirectory(prefix="tidegate-stack-") as folder, printing_receiver() as receiver_url:
        directory = Path(folder)
        write_configuration(
            directory,
            service=addresses["service"],
            alertmanager=addresses["alertmanager"],
            receiver_url=receiver_url,
        )
        *servers, load = _programs(addresses, given.phase_seconds, None if reason else given.tools)
        telemetry = _NO_TELEMETRY.format(reason=reason) if reason else _TELEMETRY.format(**addresses)
        with running(servers, directory) as serving:
            greeting = _GREETING.format(directory=directory, telemetry=telemetry, **addresses)
            print(greeting, flush=True)  # noqa: T201 - a command's output
            with running([load], directory) as loading:
                wait_until_one_ends({**serving, **loading}, directory)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    for name, port in {**_PORTS, **_TELEMETRY_PORTS}.items():
        parser.add_argument(f"--{name}-port", type=int, default=port, help="default: %(default)s")
    parser.add_argument("--phase-seconds", type=float, default=120, help="duration of each phase of the load")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="environment with collector and trace view")
    return parser.parse_args()


if __name__ == "__main__":
    # Handles SIGTERM like Ctrl-C, and enables SIGINT, which shells ignore for background jobs.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        _run(_arguments())
    except KeyboardInterrupt:
        print("Everything has stopped.")  # noqa: T201 - a command's output
    except StackError as error:
        sys.exit(str(error))
