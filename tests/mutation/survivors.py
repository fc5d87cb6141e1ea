"""The list of changes that need no test, each with its reason."""

import tomllib
from pathlib import Path
from typing import Any, Final

from mutation.changes import Change

_LIST: Final = Path(__file__).with_name("survivors.toml")


class Survivors:
    """The content of `survivors.toml`: groups of changes, each with a reason.

    Raises:
        ValueError: A group has no reason.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self._listed: set[tuple[str, str]] = set()
        for group in content["survivors"]:
            if not group["reason"]:
                raise ValueError(f"survivors.toml: a reason is missing for {group['changes']}")
            self._listed |= {(change["where"], change["what"]) for change in group["changes"]}

    @classmethod
    def read(cls) -> "Survivors":
        """Read `survivors.toml`."""
        return cls(tomllib.loads(_LIST.read_text()))

    def __contains__(self, change: Change) -> bool:
        return (change.where, change.what) in self._listed

    def unknown(self, changes: list[Change]) -> list[tuple[str, str]]:
        """Listed changes of these modules that no longer exist."""
        modules = {change.module for change in changes}
        listed = {entry for entry in self._listed if entry[0].partition(".")[0] in modules}
        return sorted(listed - {(change.where, change.what) for change in changes})
