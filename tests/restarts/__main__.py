"""Proves that clients notice nothing of restarts: `make prove-restarts`, which takes over an hour."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import anthropic
import click

from restarts.behind_nginx import Outcome, restart_behind_nginx
from restarts.hand_over import restart_by_hand_over
from restarts.load import Load
from restarts.replicas import restart_replicas

Restart = Callable[[Path, Load, int, float], Coroutine[Any, Any, Outcome]]

_WAYS: Final[dict[str, Restart]] = {
    "hand-over": restart_by_hand_over,
    "behind-nginx": restart_behind_nginx,
    "replicas": restart_replicas,
}


@click.command()
@click.option("--way", type=click.Choice([*_WAYS]), multiple=True, default=[*_WAYS], show_default=True)
@click.option("--restarts", default=20, show_default=True)
@click.option("--streams", default=200, show_default=True, help="Streams that are open at any time.")
@click.option("--stream-seconds", default=60.0, show_default=True)
@click.option("--calls-per-second", default=50.0, show_default=True)
@click.option("--between-seconds", default=45.0, show_default=True, help="How long the service serves in between.")
@click.option("--seconds-per-token", default=1.0, show_default=True, help="Of the simulator: one event in a stream.")
@click.option(
    "--retries",
    type=int,
    multiple=True,
    default=[0, anthropic.DEFAULT_MAX_RETRIES],
    show_default=True,
    help="`max_retries` of the SDK; one run for each.",
)
def main(
    way: list[str],
    restarts: int,
    streams: int,
    stream_seconds: float,
    calls_per_second: float,
    between_seconds: float,
    seconds_per_token: float,
    retries: list[int],
) -> None:
    """Restart the service under load. The exit status is 1 if a call failed, was cut or refused, or got a 429."""
    is_proven = True
    for name in way:
        for count in retries:
            load = Load(streams, stream_seconds, calls_per_second, count, seconds_per_token)
            click.echo(f"{time.strftime('%F %T')} {restarts} restarts {name}, {count} retries, {load}")
            with tempfile.TemporaryDirectory() as folder:
                outcome = asyncio.run(_WAYS[name](Path(folder), load, restarts, between_seconds))
            is_proven &= outcome.is_proof
            click.echo(f"{time.strftime('%F %T')} {'proven' if outcome.is_proof else 'NOT proven'}: {outcome}")
    sys.exit(not is_proven)


main()
