"""Captured requests of Claude Code; `tests/data/claude_code/requests.json` says how they were captured."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tidegate.core.ports.transport import Fields

_FILE = Path(__file__).parents[1] / "data/claude_code/requests.json"
_FROM_THE_CONNECTION = ("host", "connection")

WITH_HINTS = "two subagents, with hints"
WITHOUT_HINTS = "two subagents, without hints"
COMPACTION = "/compact, with hints"
COUNTING = "/context, with hints"


@dataclass(frozen=True)
class Captured:
    """One request; its body has only `model`, `max_tokens` and `stream`."""

    method: str
    target: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def fields(self) -> Fields:
        """Header fields as a server provides them."""
        return {name.encode(): value.encode() for name, value in self.headers.items()}

    @property
    def passing(self) -> dict[str, str]:
        """Header fields without those of the connection."""
        return {name: value for name, value in self.headers.items() if name not in _FROM_THE_CONNECTION}


@cache
def captured(run: str) -> tuple[Captured, ...]:
    """The requests of a run in order: the main turn, its second one, then one of each subagent."""
    return tuple(Captured(**request) for request in json.loads(_FILE.read_text())["runs"][run])
