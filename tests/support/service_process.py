"""Runs `python -m tidegate …` as a process, without the settings and files of this environment."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TIDEGATE = ("-m", "tidegate")
_NOT_INSTALLED = str(Path(__file__).with_name("not_installed"))
"""Shadows modules that only development tools need. Importing them would take 8 % of a start."""
READY_SECONDS = 40
"""Starting an interpreter is slow on a busy machine."""


@dataclass
class ServiceProcess:
    process: subprocess.Popen[bytes]
    output: Path
    url: str = ""

    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def place(self, name: str) -> str:
        """The URL in the greeting for a name, such as `upstream`."""
        found = re.search(rf"^  {name} +(http\S+)", self.printed(), re.MULTILINE)
        assert found, self.printed()
        return found[1]


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings of the service, and with these variables."""
    foreign = ("TIDEGATE_", "ANTHROPIC_", "CLAUDE_", "MAX_RATE_LIMIT")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join(filter(None, (_NOT_INSTALLED, inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, **variables}


def run_to_end(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tidegate", *arguments],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )


@contextmanager
def running(
    directory: Path, *arguments: str, program: Sequence[str] = TIDEGATE, **variables: str
) -> Iterator[ServiceProcess]:
    """Run a command that serves, on a free port unless `--port` is given. Yields when its greeting has been printed.

    `program` has the arguments for the Python interpreter.
    """
    output = directory / "output.txt"
    port = () if "--port" in arguments else ("--port", "0")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, *program, *arguments, *port],
            cwd=directory,
            env=environment(**{"TIDEGATE_DRAIN_NOTICE_SECONDS": "0", **variables}),
            stdout=stream,
            stderr=subprocess.STDOUT,
            close_fds=False,  # those that are inheritable are meant
        )
    service = ServiceProcess(process, output)
    try:
        service.url = _wait_for_url(service)
        yield service
    finally:
        process.kill()
        process.wait()


def _wait_for_url(service: ServiceProcess) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"Claude API .*?(http://\S+)", service.printed())
        if found:
            return found[1]
        if service.process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"did not start: {service.printed()}")
