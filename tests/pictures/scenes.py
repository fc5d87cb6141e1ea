"""Scenes: the faults of `make test-alerts`, and some more, under the usual load of several callers."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from support.alerting.fault import Fault
from support.alerting.faults import FAULTS
from support.alerting.stack import CALLERS, POOL, Stack, stack

__all__ = ["SCENES", "play"]

_USUAL: tuple[Mapping[str, Any], ...] = (
    {"key": "web-key"},
    {"key": "search-key", "stream": False},
    {"key": "nightly-key", "model": "claude-haiku-5-5", "max_tokens": 50},
)
"""The usual load, by three callers."""
_APP = f"""
[[callers]]
name = "app"
key_sha256 = "{hashlib.sha256(b"any").hexdigest()}"
"""
"""The caller whose calls meet most faults."""
_USUAL_SECONDS = 15
"""How long the usual load runs before a fault."""
_AFTERWARDS_SECONDS = 2
"""From the moment when all alerts fire to that of the picture."""
_LEAST_PAUSE_SECONDS = 0.15
_WITHOUT_CALLERS = {"adaptive_rate_cut"}
"""Faults that change limits, for which callers would need a key of an admin."""
_NOT_DURING = {"silence"}
"""Faults that the usual load would end."""


class _Over(Exception):
    """The moment of the picture has passed."""


class _Scene(Stack):
    """A stack whose fault ends when all of its alerts fire.

    Attributes:
        alerts: Names, severities and windows of these alerts; None before the fault.
        at_seconds: The moment of the picture, in Unix time.
    """

    alerts: frozenset[str] | None = None
    at_seconds = 0.0

    def fires(
        self, name: str, severity: str = "warning", *, silenced: bool = False, most: str = "default", **labels: str
    ) -> None:
        """Wait until an alert fires or is inhibited. The test of the fault checks the rest."""
        del silenced, most
        wanted = {"alertname": name, "severity": severity, **{key.rstrip("_"): value for key, value in labels.items()}}
        self.wait_for(lambda: self._alerts(wanted), f"{wanted} to fire")
        self.proved.add(" ".join(filter(None, (name, severity, labels.get("window")))))
        if self.alerts is not None and self.alerts <= self.proved:
            time.sleep(_AFTERWARDS_SECONDS)
            self.end()

    @contextmanager
    def load(self, *calls: Mapping[str, Any], workers: int = 4, pause_seconds: float = 0.02) -> Iterator[None]:
        """Run workers, but less of a load: refused calls are so cheap that they would fill the graphs."""
        with super().load(*calls, workers=workers, pause_seconds=max(pause_seconds, _LEAST_PAUSE_SECONDS)):
            yield

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Fill the disk. The end of the scene has killed the process whose disk it frees."""
        try:
            with super().full_disk():
                yield
        except ProcessLookupError as gone:
            raise _Over from gone

    def silent(self, severity: str, *, but: str = "") -> None:
        """Check nothing: the usual load may have alerts of its own."""

    def stays_silent(self, *names: str, seconds: float, but: object = ()) -> None:
        """Check nothing."""

    def end(self) -> None:
        """End the scene. Kills all replicas, so that no call keeps the fault from ending."""
        self.at_seconds = time.time()
        for name in [*self._services]:
            self.stop(name)
        raise _Over


def _healthy(running: Stack) -> None:
    assert isinstance(running, _Scene)
    time.sleep(_USUAL_SECONDS)
    running.end()


def _upstream_unreachable(running: Stack) -> None:
    running.call()
    with running.load({"timeout_seconds": 3}):
        running.lose_upstream()
        running.fires("TidegateUpstreamErrors", "critical", pool=POOL)


_MORE = (
    Fault(name="healthy", provoke=_healthy, proves=frozenset(), setup={}),
    Fault(
        name="upstream_unreachable",
        provoke=_upstream_unreachable,
        proves=frozenset({"TidegateUpstreamErrors critical"}),
        setup={},
    ),
)
SCENES: dict[str, Fault] = {fault.name: fault for fault in (*_MORE, *FAULTS)}
"""All scenes by name."""


def play(scene: Fault, directory: Path) -> float:
    """Provoke a fault until all of its alerts fire, and end it. Return that moment, in Unix time.

    Args:
        scene: The fault.
        directory: An empty folder for the stack, whose Prometheus keeps its database there.

    Raises:
        AssertionError: An alert did not fire in time.
    """
    setup = dict(scene.setup)
    makes_keys = "TIDEGATE_ADMIN_KEY" in setup.get("variables", {})
    # A simulator or callers with limits have no room for more load, and more calls in time hide those that wait.
    own_load = (
        makes_keys
        or scene.name in _WITHOUT_CALLERS
        or not setup.keys().isdisjoint({"simulator", "toml"})
        or any("LatencyBurn" in alert for alert in scene.proves)
    )
    if CALLERS not in setup.get("toml", "") and not makes_keys and scene.name not in _WITHOUT_CALLERS:
        setup["toml"] = f"{setup.get('toml', '')}\n{CALLERS}{_APP}"
    with stack(directory, kind=_Scene, **setup) as running:
        assert isinstance(running, _Scene)
        running.alerts = scene.proves
        with suppress(_Over):
            with nullcontext() if own_load else running.load(*_USUAL, workers=3, pause_seconds=0.4):
                time.sleep(0 if own_load else _USUAL_SECONDS)
                if scene.name not in _NOT_DURING:
                    scene.provoke(running)
            scene.provoke(running)
        return running.at_seconds
