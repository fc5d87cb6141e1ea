"""Draws dashboards with a program that renders Grafana's JSON against a Prometheus."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.monitoring.dashboards.board import Board

_SCREEN_UNITS = 23
"""Grid units of the first screen: about 1,000 pixels."""
_SHOWN_SECONDS = 30
_TIMEOUT_SECONDS = 120


class Viewer:
    """A program that is called as `VIEWER DASHBOARD.json PROMETHEUS_URL PICTURE.png --from TIME --to TIME …`."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def draw(
        self, board: Board, prometheus: str, picture: Path, *, to_seconds: float, first_screen: bool = False
    ) -> None:
        """Draw a dashboard, or its first screen.

        Raises:
            RuntimeError: the program has failed; the message has its output.
        """
        dashboard = board.json()
        if first_screen:
            dashboard["panels"] = _first_screen(dashboard["panels"])
        file = picture.with_suffix(".json")
        file.write_text(json.dumps(dashboard), encoding="utf-8")
        since, until = (_iso(to_seconds - ago_seconds) for ago_seconds in (_SHOWN_SECONDS, 0))
        command = [self._program, file, prometheus, picture, "--from", since, "--to", until, "--scrape", "1s"]
        drawn = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
        file.unlink()
        if drawn.returncode or not picture.exists():
            raise RuntimeError(f"{self._program}: {drawn.stdout}{drawn.stderr}")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_screen(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The panels that are visible without scrolling, and the titles of their rows."""
    seen = [panel for panel in panels if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= _SCREEN_UNITS]
    while seen[-1]["type"] == "row":
        seen.pop()
    return seen
