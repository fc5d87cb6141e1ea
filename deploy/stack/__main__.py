"""`python -m deploy.stack`, or `make stack`: everything to try dashboards and alerts with, until Ctrl-C."""

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

_HERE: Final = Path(__file__).parent
_PORTS: Final = {"service": 8080, "simulator": 8090, "prometheus": 9090, "alertmanager": 9093}
"""Who serves, and where unless told otherwise."""
_PACKAGES: Final = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
"""The Debian package of each program that Python's packages do not bring."""
_LIMITS: Final = (
    *("--requests-per-minute", "120"),
    *("--input-tokens-per-minute", "60000"),
    *("--output-tokens-per-minute", "24000"),
)
"""Room for the load's normal use, none for its flood."""
_GREETING: Final = """The stack is up:
  service       http://{service}  (metrics: http://{service}/metrics)
  simulator     http://{simulator}
  Prometheus    http://{prometheus}  (alerts: http://{prometheus}/api/v1/alerts; Debian's has no pages)
  Alertmanager  http://{alertmanager}
  logs          {directory}
For the dashboards, give a Grafana of version 11 or newer these variables when you start it from here:
  TIDEGATE_PROMETHEUS_URL=http://{prometheus}
  TIDEGATE_DASHBOARDS="$PWD/dashboards/json"
  GF_PATHS_PROVISIONING="$PWD/deploy/grafana/provisioning"
Ctrl-C ends everything. What the load does, and who is told of which alert:"""


def _programs(addresses: Mapping[str, str], act_seconds: float) -> list[Program]:
    """What the stack consists of, each before what needs it."""
    tidegate = (sys.executable, "-m", "tidegate")
    service, simulator = (f"http://{addresses[name]}" for name in ("service", "simulator"))
    port = {name: address.rpartition(":")[2] for name, address in addresses.items()}
    return [
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
            },
        ),
        Program(
            "alertmanager",
            (
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address={addresses['alertmanager']}",
                "--cluster.listen-address=",  # alone: no gossip
            ),
            ready_url=f"http://{addresses['alertmanager']}/-/ready",
        ),
        Program(
            "prometheus",
            (
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
                f"--web.listen-address={addresses['prometheus']}",
            ),
            ready_url=f"http://{addresses['prometheus']}/-/ready",
        ),
        Program(
            "load",
            (
                *(sys.executable, str(_HERE / "load.py"), "--service", service, "--simulator", simulator),
                *("--act-seconds", str(act_seconds)),
            ),
            shown=True,
        ),
    ]


def _run(given: argparse.Namespace) -> None:
    """Run the stack until Ctrl-C. `StackError` if something that it needs is not there, or ended."""
    require_programs(_PACKAGES)
    ports: dict[str, int] = {name: getattr(given, f"{name}_port") for name in _PORTS}
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
        *servers, load = _programs(addresses, given.act_seconds)
        with running(servers, directory) as serving:
            print(_GREETING.format(directory=directory, **addresses), flush=True)  # noqa: T201 - where things are
            with running([load], directory) as loading:
                wait_until_one_ends({**serving, **loading}, directory)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    for name, port in _PORTS.items():
        parser.add_argument(f"--{name}-port", type=int, default=port, help="default: %(default)s")
    parser.add_argument("--act-seconds", type=float, default=120, help="how long the load stays with one thing")
    return parser.parse_args()


if __name__ == "__main__":
    # A shell that starts this in the background has Ctrl-C ignored, and `kill` sends SIGTERM: both end it in order.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        _run(_arguments())
    except KeyboardInterrupt:
        print("Everything is ended.")  # noqa: T201 - the terminal's reader waits for it
    except StackError as error:
        sys.exit(str(error))
