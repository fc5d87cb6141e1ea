"""The commands and their options."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tidegate import __version__
from tidegate.cli.completion import completion
from tidegate.cli.connect import connect
from tidegate.cli.example import example
from tidegate.cli.keys import keys
from tidegate.cli.monitoring import monitoring
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.identity.access import AccessRules
from tidegate.settings import LoadedSettings, load_settings

if TYPE_CHECKING:
    from tidegate.http.server.server import HttpImplementation  # imports uvicorn

__all__ = ["commands"]

_PORT: Final = click.IntRange(0, 65_535)
_AT_LEAST_1: Final = click.IntRange(min=1)
_AT_LEAST_0: Final = click.FloatRange(min=0)


@click.group(
    name="tidegate",
    help="A self-hosted service between a team's programs and the Claude API.",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, message="%(version)s", help="Print the version and exit.")
def commands() -> None:
    """Holds all commands."""


@commands.command()
@click.option("--host", help="Address to listen on; default: TIDEGATE_HOST.")
@click.option("--port", type=_PORT, help="TCP port; 0 takes a free one.")
@click.option(
    "--upstream",
    type=click.Choice(["claude", "simulator"]),
    default="claude",
    help="`simulator`: invented answers, for trying things out.",
)
@click.option(
    "--http",
    type=click.Choice(["tidegate", "uvicorn"]),
    default="tidegate",
    help="`uvicorn`: stock connections, without bounds on heads, framing and time.",
)
def serve(host: str | None, port: int | None, upstream: str, http: "HttpImplementation") -> None:
    """Run the service."""
    loaded = load_settings()
    _print_warnings(loaded)
    settings = loaded.settings
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update=given)
    if upstream == "claude" and settings.anthropic_api_key is None:
        raise ConfigurationError("ANTHROPIC_API_KEY", None, "a key of the Claude API; or add --upstream simulator")

    from tidegate.cli.service import run_service  # noqa: PLC0415 - imports everything

    run_service(settings, simulated=upstream == "simulator", http=http)


@commands.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: `valid`, and `settings` or `errors`.")
def check(file: Path | None, *, as_json: bool) -> None:
    """Validate the configuration; print the effective one, and where each value came from.

    FILE is the configuration file; default: as `serve` would read it.
    """
    try:
        loaded = load_settings(file=file)
        AccessRules.of(loaded.settings).check_bind(loaded.settings.host)
        AccessRules.for_metrics(loaded.settings)
    except ConfigurationError as error:
        if not as_json:
            raise
        faults = error.faults if isinstance(error, ConfigurationErrors) else (error,)
        errors = [{"field": each.field, "allowed": each.allowed, "message": str(each)} for each in faults]
        click.echo(json.dumps({"valid": False, "errors": errors}, indent=2, ensure_ascii=False))
        click.get_current_context().exit(2)
    _print_warnings(loaded)
    if as_json:
        click.echo(json.dumps({"valid": True, "settings": loaded.as_json()}, indent=2, ensure_ascii=False))
        return
    for line in loaded.lines():
        click.echo(line)
    if loaded.settings.anthropic_api_key is None:
        click.echo("tidegate: note: ANTHROPIC_API_KEY is not set; `tidegate serve` needs it", err=True)


@commands.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=_PORT, default=8090, help="TCP port; 0 takes a free one.")
@click.option("--requests-per-minute", type=_AT_LEAST_1, default=1_000, help="Request limit of each model family.")
@click.option("--input-tokens-per-minute", type=_AT_LEAST_1, default=2_000_000, help="Input token limit, likewise.")
@click.option("--output-tokens-per-minute", type=_AT_LEAST_1, default=400_000, help="Output token limit, likewise.")
@click.option("--first-token-seconds", type=_AT_LEAST_0, default=0.02, help="Latency of an answer's beginning.")
@click.option("--per-token-seconds", type=_AT_LEAST_0, default=0.0005, help="Latency of each token.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="A fault in force from the start, such as overloaded or overloaded:probability=0.1,count=3.",
)
@click.option("--seed", type=int, default=0, help="Makes ids and probabilistic faults repeat.")
@click.option("--batch-seconds", type=_AT_LEAST_0, default=1.0, help="How long after it was made a batch ends.")
@click.option("--compression", is_flag=True, help="Compress answers for clients that accept gzip.")
@click.option(
    "--clock-stands-at",
    type=float,
    help="Stop the clock at this Unix time: limits do not refill, the same calls get the same bytes.",
)
@click.option(
    "--scenario",
    type=click.Path(path_type=Path),
    help="TOML file of a scenario; replaces the options of limits and latency.",
)
def simulator(
    *,
    host: str,
    port: int,
    requests_per_minute: int,
    input_tokens_per_minute: int,
    output_tokens_per_minute: int,
    first_token_seconds: float,
    per_token_seconds: float,
    faults: tuple[str, ...],
    seed: int,
    batch_seconds: float,
    compression: bool,
    clock_stands_at: float | None,
    scenario: Path | None,
) -> None:
    """Run the simulated Claude API alone."""
    from claude_simulator import Latency, PoolLimits, SimulatorOptions, fault_from, load_scenario  # noqa: PLC0415 - as above
    from claude_simulator.options import StandingClock  # noqa: PLC0415 - as above
    from tidegate.cli.simulator import run_simulator  # noqa: PLC0415 - imports uvicorn

    try:
        options = SimulatorOptions(
            limits=PoolLimits(
                requests_per_minute=requests_per_minute,
                input_tokens_per_minute=input_tokens_per_minute,
                output_tokens_per_minute=output_tokens_per_minute,
            ),
            limits_by_family={},
            latency=Latency(first_token_seconds=first_token_seconds, per_token_seconds=per_token_seconds),
            faults=tuple(fault_from(_fault_fields(text)) for text in faults),
            seed=seed,
            batch_seconds=batch_seconds,
            compression=compression,
            scenario=None if scenario is None else load_scenario(scenario),
        )
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error)) from None
    run_simulator(options, host, port, clock=None if clock_stands_at is None else StandingClock(clock_stands_at))


@commands.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


for each in (completion, connect, example, keys, monitoring):
    commands.add_command(each)


def _print_warnings(loaded: LoadedSettings) -> None:
    for warning in loaded.warnings:
        click.echo(f"tidegate: warning: {warning}", err=True)


def _fault_fields(text: str) -> dict[str, Any]:
    """The fields of a fault that is written as `kind` or `kind:name=value,name=value`."""
    kind, _, rest = text.partition(":")
    fields: dict[str, Any] = {"kind": kind}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        fields[name] = _number(value)
    return fields


def _number(text: str) -> float | str:
    """The number that a text is; the text itself if it is none, for the simulator to refuse by name."""
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text
