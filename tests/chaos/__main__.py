"""`make chaos ARGS="leader-killed store-flushed"`: shows what clients and the upstream notice of failures."""

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chaos.cases import CASES, IN_NAMESPACE, ON_LINKS, WITH_SUCCESSOR, program
from chaos.scene import Outcome, play, scene
from chaos.servers import Server, cluster, sentinel, server

_KEPT = ("--appendonly", "yes", "--appendfsync", "always")
_KEY = "{tidegate}:log"
_NAMESPACE = "CHAOS_NAMESPACE"
"""Set in a process that has a network namespace of its own."""
_STORES = ("server", "persistent", "sentinel", "cluster")


@contextmanager
def store_of(kind: str, directory: Path) -> Iterator[tuple[str, Server]]:
    """Run a store. Yields its URL, in which `{port}` may stand for the port, and the server that can fail."""
    if kind == "sentinel":
        with sentinel(directory) as running:
            yield running
    elif kind == "cluster":
        with cluster(directory, _KEY) as running:
            yield running
    else:
        with server(directory / "server", *(_KEPT if kind == "persistent" else ())) as single:
            yield "valkey://127.0.0.1:{port}", single


async def prove(directory: Path, name: str, kind: str, replicas: int, after_seconds: float) -> Outcome:
    """Plays one case on new processes."""
    with store_of(kind, directory) as (url, store):
        started = scene(directory, url, store, replicas, has_links=name in ON_LINKS, program=partial(program, name))
        async with started as on:
            return await play(on, CASES[name], after_seconds)


def main() -> None:
    """Plays the cases that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all, if none is named")
    parser.add_argument("--store", choices=_STORES, default="server")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8, help="after everything works again")
    given = parser.parse_args()
    if unknown := sorted({*given.cases} - {*CASES}):
        parser.error(f"cases: got {', '.join(unknown)}, allowed is {', '.join(CASES)}")
    alone = given.store in {"server", "persistent"}
    cases = given.cases or [name for name in CASES if not (alone and name in WITH_SUCCESSOR)]
    if not IN_NAMESPACE.isdisjoint(cases) and _NAMESPACE not in os.environ:
        again = shlex.join([sys.executable, "-m", "chaos", *sys.argv[1:]])
        os.environ[_NAMESPACE] = "1"
        command = ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {again}"]
        os.execvp(command[0], command)  # noqa: S606 - our own arguments
    for name in cases:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            outcome = asyncio.run(prove(Path(folder), name, given.store, given.replicas, given.seconds))
        print(f"{name} on {given.store}, {given.replicas} replicas: {outcome}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
