"""The commands and their options."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate import __version__
from tidegate.cli.connect import connect
from tidegate.cli.example import example
from tidegate.cli.keys import keys
from tidegate.cli.monitoring import monitoring
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.identity.access import AccessRules
from tidegate.settings import LoadedSettings, load_settings

__all__ = ["commands"]

commands = typer.Typer(
    name="tidegate",
    help="A self-hosted service between a team's programs and the Claude API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Upstream(StrEnum):
    """What stands behind the service."""

    CLAUDE = "claude"
    SIMULATOR = "simulator"


class Http(StrEnum):
    """Who speaks HTTP with clients."""

    TIDEGATE = "tidegate"
    UVICORN = "uvicorn"


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - a callback of typer
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@commands.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="TCP port; 0 takes a free one.")]


@commands.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: TIDEGATE_HOST.")] = None,
    port: Port = None,
    upstream: Annotated[
        Upstream, typer.Option(help="`simulator`: invented answers, for trying things out.")
    ] = Upstream.CLAUDE,
    http: Annotated[
        Http, typer.Option(help="`uvicorn`: stock connections, without bounds on heads, framing and time.")
    ] = Http.TIDEGATE,
) -> None:
    """Run the service."""
    loaded = load_settings()
    _print_warnings(loaded)
    settings = loaded.settings
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update=given)
    if upstream is Upstream.CLAUDE and settings.anthropic_api_key is None:
        raise ConfigurationError("ANTHROPIC_API_KEY", None, "a key of the Claude API; or add --upstream simulator")

    from tidegate.cli.service import run_service  # noqa: PLC0415 - imports everything

    run_service(settings, simulated=upstream is Upstream.SIMULATOR, http=http.value)


@commands.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Configuration file; default: as `serve` would read it.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: `valid`, and `settings` or `errors`.")] = False,
) -> None:
    """Validate the configuration; print the effective one, and where each value came from."""
    try:
        loaded = load_settings(file=file)
        AccessRules.of(loaded.settings).check_bind(loaded.settings.host)
        AccessRules.for_metrics(loaded.settings)
    except ConfigurationError as error:
        if not as_json:
            raise
        faults = error.faults if isinstance(error, ConfigurationErrors) else (error,)
        errors = [{"field": each.field, "allowed": each.allowed, "message": str(each)} for each in faults]
        typer.echo(json.dumps({"valid": False, "errors": errors}, indent=2, ensure_ascii=False))
        raise typer.Exit(2) from None
    _print_warnings(loaded)
    if as_json:
        typer.echo(json.dumps({"valid": True, "settings": loaded.as_json()}, indent=2, ensure_ascii=False))
        return
    for line in loaded.lines():
        typer.echo(line)
    if loaded.settings.anthropic_api_key is None:
        typer.echo("tidegate: note: ANTHROPIC_API_KEY is not set; `tidegate serve` needs it", err=True)


@commands.command()
def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="TCP port; 0 takes a free one.")] = 8090,
    requests_per_minute: Annotated[int, typer.Option(min=1, help="Request limit of each model family.")] = 1_000,
    input_tokens_per_minute: Annotated[int, typer.Option(min=1, help="Input token limit, likewise.")] = 2_000_000,
    output_tokens_per_minute: Annotated[int, typer.Option(min=1, help="Output token limit, likewise.")] = 400_000,
    first_token_seconds: Annotated[float, typer.Option(min=0, help="Latency of an answer's beginning.")] = 0.02,
    per_token_seconds: Annotated[float, typer.Option(min=0, help="Latency of each token.")] = 0.0005,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault in force from the start, such as overloaded or overloaded:probability=0.1,count=3."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes ids and probabilistic faults repeat.")] = 0,
    batch_seconds: Annotated[float, typer.Option(min=0, help="How long after it was made a batch ends.")] = 1.0,
    compression: Annotated[  # noqa: FBT002 - an option of a command
        bool, typer.Option("--compression", help="Compress answers for clients that accept gzip.")
    ] = False,
    clock_stands_at: Annotated[
        float | None,
        typer.Option(help="Stop the clock at this Unix time: limits do not refill, the same calls get the same bytes."),
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="TOML file of a scenario; replaces the options of limits and latency.")
    ] = None,
) -> None:
    """Run the simulated Claude API alone."""
    from claude_simulator import Latency, PoolLimits, SimulatorOptions, load_scenario  # noqa: PLC0415 - as above
    from claude_simulator.http.control import fault_from_json  # noqa: PLC0415 - as above
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
            faults=tuple(fault_from_json(_fault_fields(text)) for text in fault or ()),
            seed=seed,
            batch_seconds=batch_seconds,
            compression=compression,
            scenario=None if scenario is None else load_scenario(scenario),
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    run_simulator(options, host, port, clock=None if clock_stands_at is None else StandingClock(clock_stands_at))


@commands.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


commands.command()(connect)
commands.command()(example)
commands.add_typer(keys)
commands.add_typer(monitoring)


def _print_warnings(loaded: LoadedSettings) -> None:
    for warning in loaded.warnings:
        typer.echo(f"tidegate: warning: {warning}", err=True)


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
