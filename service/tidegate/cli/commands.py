"""The command group, and its commands without a module of their own."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate import __version__
from tidegate.cli.completion import completion
from tidegate.cli.composition.ledger import has_ledger, missing_tenants, stored_keys
from tidegate.cli.composition.shared_store import check_store
from tidegate.cli.connect import connect
from tidegate.cli.keys import keys
from tidegate.cli.ledger_commands import ledger, usage
from tidegate.cli.monitoring import monitoring
from tidegate.cli.pauses import audit, pause, paused, resume
from tidegate.cli.recordings.record import record
from tidegate.cli.recordings.replay import replay
from tidegate.cli.reload import reload
from tidegate.cli.simulator import simulator
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.identity.access import AccessRules
from tidegate.settings import LoadedSettings, Settings, load_settings
from tidegate.settings.prices import load_prices
from tidegate.settings.reference.example import example_file

if TYPE_CHECKING:
    from tidegate.http.server.server import HttpImplementation  # imports uvicorn

__all__ = ["commands"]

_PORT: Final = click.IntRange(0, 65_535)


@click.group(
    name="tidegate",
    help="A self-hosted service between a team's programs and the Claude API.",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, message="%(version)s", help="Print the version and exit.")
def commands() -> None:
    """The command group."""


@commands.command()
@click.option("--host", help="Address to listen on; default: TIDEGATE_HOST.")
@click.option("--port", type=_PORT, help="TCP port; 0 takes a free one.")
@click.option(
    "--upstream",
    type=click.Choice(["claude", "simulator"]),
    default="claude",
    help="`simulator`: invented responses, for trials.",
)
@click.option(
    "--http",
    type=click.Choice(["tidegate", "uvicorn"]),
    default="tidegate",
    help="`uvicorn`: its own HTTP server, without limits on head size, framing and time.",
)
@click.option(
    "--take-over",
    is_flag=True,
    help="Replace the running process of the same TIDEGATE_STATE_DIR, without a refused or cut call.",
)
def serve(host: str | None, port: int | None, upstream: str, http: "HttpImplementation", *, take_over: bool) -> None:
    """Run the service."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}

    def load() -> Settings:
        loaded = load_settings()
        _print_warnings(loaded)
        key = loaded.settings.anthropic_api_key
        if upstream == "claude" and (key is None or not key.get_secret_value().strip()):
            raise ConfigurationError("ANTHROPIC_API_KEY", None, "a key of the Claude API; or use --upstream simulator")
        return loaded.settings.model_copy(update=given)

    from tidegate.cli.serve import run_service  # noqa: PLC0415 - imports everything

    run_service(load, simulated=upstream == "simulator", http=http, take_over=take_over)


@commands.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: `valid`, and `settings` or `errors`.")
def check(file: Path | None, *, as_json: bool) -> None:
    """Validate the configuration and the shared store. Print the effective values and their origins.

    FILE is the configuration file; default: the file that `serve` reads.
    """
    try:
        loaded = load_settings(file=file)
        key_store = stored_keys(loaded.settings)
        AccessRules.of(loaded.settings, key_store=key_store).check_bind(loaded.settings.host)
        AccessRules.for_metrics(loaded.settings, key_store=key_store)
        check_store(loaded.settings)
        load_prices(loaded.settings.prices)
    except ConfigurationError as error:
        if not as_json:
            raise
        faults = error.faults if isinstance(error, ConfigurationErrors) else (error,)
        errors = [{"field": each.field, "allowed": each.allowed, "message": str(each)} for each in faults]
        click.echo(json.dumps({"valid": False, "errors": errors}, indent=2, ensure_ascii=False))
        click.get_current_context().exit(2)
    _print_warnings(loaded)
    warning = None if has_ledger(loaded.settings) else missing_tenants(loaded.settings)
    if warning is not None:
        click.echo(f"tidegate: warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps({"valid": True, "settings": loaded.as_json()}, indent=2, ensure_ascii=False))
        return
    for line in loaded.lines():
        click.echo(line)
    if loaded.settings.anthropic_api_key is None:
        click.echo("tidegate: note: ANTHROPIC_API_KEY is not set; `tidegate serve` needs it", err=True)


@commands.command()
def example() -> None:
    """Print a commented configuration file with every setting: `tidegate example > tidegate.toml`."""
    click.echo(example_file(), nl=False)


@commands.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


_COMMANDS: Final = (
    *(audit, completion, connect, keys, ledger, monitoring, pause, paused),
    *(record, reload, replay, resume, simulator, usage),
)
for each in _COMMANDS:
    commands.add_command(each)


def _print_warnings(loaded: LoadedSettings) -> None:
    for warning in loaded.warnings:
        click.echo(f"tidegate: warning: {warning}", err=True)
