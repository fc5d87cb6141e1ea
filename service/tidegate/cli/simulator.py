"""`tidegate simulator`: runs the simulated Claude API."""

from typing import TYPE_CHECKING

import click

from tidegate.cli.process import on_stop_signal, run
from tidegate.http.server.listener import bind, url_of
from tidegate.http.server.server import HttpServer, serving
from tidegate.observe.logging.request_log import open_logs

if TYPE_CHECKING:
    from claude_simulator import Clock, SimulatorOptions

__all__ = ["run_simulator"]


def run_simulator(options: "SimulatorOptions", host: str, port: int, *, clock: "Clock | None" = None) -> None:
    """Runs the simulated Claude API until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    from claude_simulator import create_app  # noqa: PLC0415 - for this command only

    listener = bind(host, port, "--host", "--port")

    async def main() -> None:
        server = HttpServer(create_app(options, clock=clock), listener)
        async with serving(server):
            stopped = on_stop_signal(lambda: None, server.stop_now)
            click.echo(f"Simulated Claude API on {url_of(listener)}  (faults: POST /simulator/faults)")
            await stopped.wait()

    open_logs("warning", "auto")
    run(main())
