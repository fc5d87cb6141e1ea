"""The collector and the trace view of the stack: Rotel and Phoenix, which `make stack` installs in `.tools/stack`."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.stack.programs import Program

__all__ = ["TOOLS", "service_variables", "telemetry_programs", "why_missing"]

TOOLS: Final = Path(__file__).parents[2] / ".tools/stack"
"""The environment with the packages of `requirements.txt` in this folder."""
_COLLECTOR: Final = "lib/python*/site-packages/rotel/rotel-agent"
"""The program itself: the wheel has no command for it, and its Python module starts it as a daemon."""


def why_missing(tools: Path = TOOLS) -> str | None:
    """Why there is no collector and no trace view, and how to get them; None if both can start."""
    collector = _collector(tools)
    if collector is None or not (tools / ".installed").exists():
        return f"{tools} is not installed; install it with: make .tools/stack/.installed"
    # The program is linked with the shared library of Python, which Debian has in a package of its own.
    tried = subprocess.run([collector, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if tried.returncode != 0:
        python = collector.parents[2].name
        return f"{tried.stderr.strip()}; on Debian: apt-get install --no-install-recommends lib{python}"
    return None


def telemetry_programs(addresses: Mapping[str, str], tools: Path = TOOLS) -> list[Program]:
    """The trace view and the collector, which sends it the traces it receives.

    Args:
        addresses: `host:port` of `traces` and `collector`.
        tools: the environment in which both are installed.
    """
    host, _, port = addresses["traces"].rpartition(":")
    python, collector = tools / "bin/python", _collector(tools)
    return [
        Program(
            "traces",
            (str(python), str(Path(__file__).with_name("phoenix_without_grpc.py")), "serve"),
            # It needs many seconds to start, and nothing waits for it: the collector repeats what it did not accept.
            ready_url=None,
            variables={
                "PHOENIX_HOST": host,
                "PHOENIX_PORT": port,
                "PHOENIX_WORKING_DIR": "traces",
                # Nothing beyond a view of traces, and nothing from or to another machine.
                "PHOENIX_TELEMETRY_ENABLED": "false",
                "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
                "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
                "PHOENIX_ENABLE_MCP_SERVER": "false",
            },
        ),
        Program(
            "collector",
            (
                *(str(collector), "start", "--pid-file", "collector.pid", "--log-format", "json"),
                *("--otlp-http-endpoint", addresses["collector"], "--otlp-grpc-endpoint", "127.0.0.1:0"),
                # Its log has one line per batch: nobody stores metrics and logs here.
                *("--debug-log", "traces", "--debug-log", "metrics", "--debug-log", "logs"),
                *("--exporters", "view:otlp,nowhere:blackhole"),
                *("--exporters-traces", "view", "--exporters-metrics", "nowhere", "--exporters-logs", "nowhere"),
            ),
            variables={
                "ROTEL_EXPORTER_VIEW_ENDPOINT": f"http://{addresses['traces']}",
                "ROTEL_EXPORTER_VIEW_PROTOCOL": "http",
            },
        ),
    ]


def service_variables(collector: str) -> dict[str, str]:
    """The variables with which the service exports traces, metrics and logs to a collector at `host:port`."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",  # ms, as often as Prometheus scrapes
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_RESOURCE_ATTRIBUTES": "openinference.project.name=tidegate",  # where Phoenix shows them
    }


def _collector(tools: Path) -> Path | None:
    return next(tools.glob(_COLLECTOR), None)
