"""Requests per second at full load, from wrk."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway.client import message_request
from benchmarks.gateway.contenders import Started

__all__ = ["Load", "Throughput", "measure_throughput"]


@dataclass(frozen=True, slots=True)
class Load:
    """The load of wrk: each connection sends its next request after a response (closed loop)."""

    connections: int
    body_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Result of a load; CPU time is the relay's."""

    per_second: float
    cpu_microseconds: float


def measure_throughput(target: Started, load: Load, core: int, directory: Path) -> Throughput:
    """Put a relay under load.

    Raises:
        RuntimeError: A response was not a 200, or a connection broke.
    """
    script = directory / f"post-{load.body_bytes}.lua"
    script.write_text(_script(target.port, load.body_bytes))
    before_seconds = target.process.cpu_seconds() if target.process else 0.0
    done = subprocess.run(
        ["taskset", "-c", str(core), "wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s",
         "--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{target.port}/v1/messages"],
        capture_output=True, text=True, check=True, timeout=load.seconds + 60,
    )  # fmt: skip
    used_seconds = (target.process.cpu_seconds() if target.process else 0.0) - before_seconds
    faults = re.findall(r"Non-2xx.*|Socket errors.*", done.stdout)
    requests = re.search(r"(\d+) requests in", done.stdout)
    per_second = re.search(r"Requests/sec: +([\d.]+)", done.stdout)
    if faults or requests is None or per_second is None or not int(requests[1]):
        raise RuntimeError(f"{target.name}: {'; '.join(faults) or done.stdout}")
    return Throughput(float(per_second[1]), 1e6 * used_seconds / int(requests[1]))


def _script(port: int, body_bytes: int) -> str:
    head, _, body = message_request(port, body_bytes).decode().partition("\r\n\r\n")
    names = [line.split(": ", 1) for line in head.split("\r\n")[2:-1]]
    headers = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in names)
    return f'wrk.method = "POST"\n{headers}wrk.body = {_lua(body)}\n'


def _lua(text: str) -> str:
    """A Lua string in long brackets, which drop a newline at the start."""
    return f"[==[\n{text}]==]"
