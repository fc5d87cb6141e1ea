"""`tidegate simulator`: runs the simulated Claude API. Imports it on use, because it is slow to import."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from claude_simulator import Clock, SimulatorOptions

__all__ = ["simulator"]

_PORT: Final = click.IntRange(0, 65_535)
_AT_LEAST_1: Final = click.IntRange(min=1)
_AT_LEAST_0: Final = click.FloatRange(min=0)


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=_PORT, default=8090, help="TCP port; 0 takes a free one.")
@click.option("--requests-per-minute", type=_AT_LEAST_1, default=1_000, help="Request limit of each model family.")
@click.option("--input-tokens-per-minute", type=_AT_LEAST_1, default=2_000_000, help="Input token limit of each.")
@click.option("--output-tokens-per-minute", type=_AT_LEAST_1, default=400_000, help="Output token limit of each.")
@click.option("--first-token-seconds", type=_AT_LEAST_0, default=0.02, help="Latency of the first token.")
@click.option("--per-token-seconds", type=_AT_LEAST_0, default=0.0005, help="Latency of each further token.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="A fault that is active from the start, such as overloaded or overloaded:probability=0.1,count=3.",
)
@click.option("--seed", type=int, default=0, help="Seed of ids and probabilistic faults.")
@click.option("--batch-seconds", type=_AT_LEAST_0, default=1.0, help="Duration of a batch.")
@click.option("--compression", is_flag=True, help="Compress responses for clients that accept gzip.")
@click.option(
    "--clock-stands-at",
    type=float,
    help="Stop the clock at this Unix time: limits do not refill, and equal calls get equal bytes.",
)
@click.option(
    "--scenario",
    type=click.Path(path_type=Path),
    help="TOML file with a scenario; replaces the options for limits and latency.",
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
    """Run only the simulated Claude API."""
    from claude_simulator import Latency, PoolLimits, SimulatorOptions, fault_from, load_scenario  # noqa: PLC0415
    from claude_simulator.options import FixedClock  # noqa: PLC0415

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
    _run(options, host, port, clock=None if clock_stands_at is None else FixedClock(clock_stands_at))


def _run(options: "SimulatorOptions", host: str, port: int, *, clock: "Clock | None") -> None:
    """Runs the simulator until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the address is not available.
    """
    from claude_simulator import create_app  # noqa: PLC0415
    from tidegate.cli.process.event_loop import on_stop_signal, run  # noqa: PLC0415
    from tidegate.http.server.listener import bind, url_of  # noqa: PLC0415
    from tidegate.http.server.server import HttpServer, serving  # noqa: PLC0415
    from tidegate.observe.logging.request_log import open_logs  # noqa: PLC0415

    listener = bind(host, port, "--host", "--port")

    async def main() -> None:
        server = HttpServer(create_app(options, clock=clock), listener)
        async with serving(server):
            stopped = on_stop_signal(server.stop_now)
            click.echo(f"Simulated Claude API on {url_of(listener)}  (faults: POST /simulator/faults)")
            await stopped

    open_logs("warning", "auto")
    run(main())


def _fault_fields(text: str) -> dict[str, Any]:
    """Parses a fault of the form `kind` or `kind:name=value,name=value`."""
    kind, _, rest = text.partition(":")
    fields: dict[str, Any] = {"kind": kind}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        fields[name] = _number(value)
    return fields


def _number(text: str) -> float | str:
    """Parses a number. Returns any other text unchanged: the simulator refuses it with the field's name."""
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text
