"""The relays that are compared: each is a process that relays `/v1/messages` to the same upstream."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from benchmarks.gateway.nginx import mock_configuration, proxy_configuration
from benchmarks.gateway.processes import Process, free_port, running
from tidegate.ledger.database import Database

__all__ = [
    "BARE",
    "CONTENDERS",
    "DIRECT",
    "LITELLM",
    "NGINX",
    "OURS",
    "WITH_LEDGER",
    "Contender",
    "Started",
    "upstream_running",
]

NGINX: Final = "nginx"
BARE: Final = "bare relay"
OURS: Final = "tidegate"
"""Tidegate that saves its state in a folder, without a ledger."""
WITH_LEDGER: Final = "with ledger"
"""The same that also keeps usage and the owners of objects in SQLite, and holds a budget that is never reached."""
LITELLM: Final = "litellm"
DIRECT: Final = "no relay"

_HERE: Final = Path(__file__).parent
_LITELLM: Final = Path(__file__).parents[3] / ".tools" / "litellm" / "bin" / "litellm"
_KEY: Final = "sk-ant-not-a-key"
_BUDGET: Final = """
[[budgets]]
name = "never-reached"
team = "default"
limit = 1_000_000
unit = "usd"
per = "month"
"""
_TRACES: Final = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.01",
}
"""As under high load in production: one call in a hundred is traced."""


@dataclass(frozen=True, slots=True)
class Command:
    """The command that starts a contender."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """A relay. `command` receives an empty directory, the relay's port, and the upstream's port."""

    name: str
    command: Callable[[Path, int, int], Command]

    @contextmanager
    def started(self, directory: Path, upstream_port: int, core: int) -> Iterator["Started"]:
        """Start the process; it may not be ready yet."""
        port = free_port()
        home = Path(mkdtemp(prefix=f"{self.name.replace(' ', '-')}-", dir=directory))
        command = self.command(home, port, upstream_port)
        with running(command.arguments, core, home, command.environment) as process:
            yield Started(self.name, port, process)


@dataclass(frozen=True, slots=True)
class Started:
    """A running contender; `process` is None for the upstream itself."""

    name: str
    port: int
    process: Process | None

    @property
    def pid(self) -> int:
        """Process id; 0 for the upstream itself."""
        return 0 if self.process is None else self.process.pid


def _nginx(directory: Path, port: int, upstream_port: int) -> Command:
    file = directory / "nginx.conf"
    file.write_text(proxy_configuration(str(directory), port, upstream_port))
    return Command(("nginx", "-p", str(directory), "-c", str(file)))


def _bare(_directory: Path, port: int, upstream_port: int) -> Command:
    arguments = ("--port", str(port), "--upstream", f"http://127.0.0.1:{upstream_port}")
    return Command((sys.executable, str(_HERE / "bare_relay.py"), *arguments))


def _tidegate(_directory: Path, port: int, upstream_port: int) -> Command:
    command = _with_state(port, upstream_port)
    return Command(command.arguments, {**command.environment, "TIDEGATE_LEDGER": "off"})


def _with_ledger(directory: Path, port: int, upstream_port: int) -> Command:
    (directory / "tidegate.toml").write_text(_BUDGET)
    state = directory / "state"
    state.mkdir(mode=0o700)
    database = Database.in_folder(state)
    with database.begin():
        pass  # makes the tables, as the first start does: any later one does without Alembic
    database.close()
    return _with_state(port, upstream_port)


def _with_state(port: int, upstream_port: int) -> Command:
    upstream = f"http://127.0.0.1:{upstream_port}"  # also receives the spans: it responds to everything
    variables = {"ANTHROPIC_API_KEY": _KEY, "TIDEGATE_UPSTREAM_URL": upstream, **_TRACES}
    variables |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": upstream,
        "TIDEGATE_STATE_DIR": "state",
        "TIDEGATE_DRAIN_NOTICE_SECONDS": "0",
    }
    return Command((sys.executable, "-m", "tidegate", "serve", "--port", str(port)), variables)


def _litellm(directory: Path, port: int, upstream_port: int) -> Command:
    model = "claude-sonnet-5-5"
    parameters = {"model": f"anthropic/{model}", "api_base": f"http://127.0.0.1:{upstream_port}", "api_key": _KEY}
    file = directory / "config.yaml"  # JSON is YAML
    file.write_text(json.dumps({"model_list": [{"model_name": model, "litellm_params": parameters}]}))
    arguments = ("--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    variables = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys, like the others
        "LITELLM_LOG": "ERROR",
    }
    return Command((str(_LITELLM), *arguments), variables)


CONTENDERS: Final = (
    Contender(NGINX, _nginx),
    Contender(BARE, _bare),
    Contender(OURS, _tidegate),
    Contender(WITH_LEDGER, _with_ledger),
    Contender(LITELLM, _litellm),
)


@contextmanager
def upstream_running(directory: Path, core: int) -> Iterator[int]:
    """Run the mock upstream, and yield its port."""
    port, streams_port = free_port(), free_port()
    home = directory / "upstream"
    home.mkdir()
    file = home / "nginx.conf"
    file.write_text(mock_configuration(str(home), port, streams_port))
    streams = (sys.executable, str(_HERE / "mock_streams.py"), "--port", str(streams_port))
    with ExitStack() as stack:
        stack.enter_context(running(streams, core, directory / "streams"))
        stack.enter_context(running(("nginx", "-p", str(home), "-c", str(file)), core, home))
        yield port
