"""`make profile`: where the relay's CPU time goes under load, by py-spy.

PYTHONPATH=tests python -m benchmarks.gateway.profile --body-bytes 100000
"""

import argparse
import compileall
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.gateway.contenders import CONTENDERS, OURS, Started, upstream_running
from benchmarks.gateway.start import first_answer
from benchmarks.gateway.streams import events_per_cpu_second
from benchmarks.gateway.throughput import Load, measure_throughput

__all__ = ["main", "parts", "shares"]

_SPY: Final = Path(sys.executable).parent / "py-spy"
_SERVICE: Final = Path(__file__).parents[3] / "service"
_PER_SECOND: Final = 500
_PARTS: Final = (
    ("tidegate/http/client", "connection to the upstream (http/client, httptools)"),
    ("tidegate/http/server", "connection to the client (http/server, httptools)"),
    ("tidegate/gateway", "gateway: bodies, headers, attempts, relaying"),
    ("tidegate/observe", "metrics, log line, traces (observe)"),
    ("tidegate/core", "limiter (core, stores, engine)"),
    ("tidegate/stores", "limiter (core, stores, engine)"),
    ("tidegate/engine", "limiter (core, stores, engine)"),
    ("tidegate/api", "dispatcher and access rules (api, identity)"),
    ("tidegate/identity", "dispatcher and access rules (api, identity)"),
    ("uvicorn", "server (uvicorn, httptools, socket writes)"),
    ("json", "JSON"),
)
_REST: Final = "event loop, sockets, interpreter"


def parts(frames: Sequence[str]) -> str:
    """To which part of the relay a stack belongs: that of its innermost frame that is of one."""
    for frame in reversed(frames):
        file = frame.rpartition("(")[2]
        for beginning, part in _PARTS:
            if file.startswith(beginning):
                return part
    return _REST


def shares(stacks: Iterable[str]) -> tuple[Counter[str], Counter[str], int]:
    """Samples by part, samples by function that was running, and all samples; of stacks as py-spy writes them."""
    by_part, by_function, total = Counter[str](), Counter[str](), 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] for frame in stack.split(";")]
        if any("asyncio/runners.py" in frame for frame in frames):  # the rest is the start, and other threads
            by_part[parts(frames)] += int(count)
            by_function[frames[-1]] += int(count)
            total += int(count)
    return by_part, by_function, total


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the shares."""
    parser = argparse.ArgumentParser("profile", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--body-bytes", type=int, default=2_000, help="of each request (2,000)")
    parser.add_argument("--streams", action="store_true", help="50 event streams instead of short answers")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--cores", type=int, nargs=2, default=[1, 0], help="of the relay, and of the load (1 0)")
    options = parser.parse_args(arguments)
    compileall.compile_dir(_SERVICE, quiet=2)
    os.sched_setaffinity(0, {options.cores[1]})
    with tempfile.TemporaryDirectory() as directory:
        by_part, by_function, total = shares(_stacks(Path(directory), options))
    lines = [f"{total:,} samples", *_lines(by_part, total, len(by_part)), "", *_lines(by_function, total, 30)]
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


def _stacks(directory: Path, options: argparse.Namespace) -> list[str]:
    relay_core, load_core = options.cores
    ours = next(one for one in CONTENDERS if one.name == OURS)
    with upstream_running(directory, load_core) as port, ours.started(directory, port, relay_core) as relay:
        uvloop.run(_warm(relay))
        stacks = directory / "stacks"
        command: list[str | Path] = [_SPY, "record", "--pid", str(relay.pid), "--duration", str(round(options.seconds))]
        command += ["--rate", str(_PER_SECOND), "--format", "raw", "--output", stacks]
        spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            if options.streams:
                uvloop.run(events_per_cpu_second(relay, 50, 200))
            else:
                measure_throughput(relay, Load(32, options.body_bytes, 2), load_core, directory)
        _, said = spy.communicate(timeout=60)
        if spy.returncode or not stacks.exists():
            raise RuntimeError(f"py-spy: {said.decode()}")
        return stacks.read_text().splitlines()


async def _warm(relay: Started) -> None:
    await first_answer(relay, time.perf_counter())


def _lines(samples: Counter[str], total: int, most: int) -> list[str]:
    return [f"{100 * count / max(total, 1):5.1f} %  {what}" for what, count in samples.most_common(most)]


if __name__ == "__main__":
    sys.exit(main())
