"""Results of earlier runs, stored in `.tools/` and valid until the code or the tests change."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from mutation.changes import CORE, KEPT, Change

_PROJECT: Final = Path(__file__).parents[2]
_PLACE: Final = KEPT / "record.json"
# Every test depends on these, and on its own file.
_SHARED: Final = (CORE, _PROJECT / "service" / "tidegate" / "engine", _PROJECT / "tests" / "support")
FileReach: TypeAlias = dict[str, tuple[float, dict[str, list[int]]]]


def _digest(*paths: Path) -> str:
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))
    return sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


class Record:
    """The reach of tests by file, and for each change the test that noticed it."""

    def __init__(self, test_files: set[Path]) -> None:
        self._digests = {path: _digest(path, *_SHARED, _PROJECT / "tests" / "conftest.py") for path in test_files}
        self._all = sha256("".join(sorted(self._digests.values())).encode()).hexdigest()[:16]
        kept = json.loads(_PLACE.read_text()) if _PLACE.exists() else {}
        self._reach: dict[str, tuple[str, FileReach]] = kept.get("reach", {})
        self._noticed: dict[str, list[str]] = kept.get("noticed", {})
        self._survived: dict[str, str] = kept.get("survived", {})

    def reach_of(self, tests: Path) -> FileReach | None:
        """Recorded reach of a file's tests; None if the file or the code has changed."""
        kept = self._reach.get(str(tests.relative_to(_PROJECT)))
        return kept[1] if kept is not None and kept[0] == self._digests[tests] else None

    def note_reach(self, tests: Path, reach: FileReach) -> None:
        """Record the reach of a file's tests."""
        self._reach[str(tests.relative_to(_PROJECT))] = (self._digests[tests], reach)

    def noticed_by(self, change: Change) -> tuple[str, bool] | None:
        """The test that noticed the change, and whether that result is still valid."""
        test, digest = self._noticed.get(_key(change), (None, None))
        return None if test is None else (test, digest in self._digests.values())

    def survived(self, change: Change) -> bool:
        """Whether no test noticed the change, and that result is still valid."""
        return self._survived.get(_key(change)) == self._all

    def note(self, change: Change, noticed_by: str | None, file: Path | None) -> None:
        """Record the test that noticed a change and its file, or None."""
        if noticed_by is None or file is None:
            self._survived[_key(change)] = self._all
            self._noticed.pop(_key(change), None)
        else:
            self._noticed[_key(change)] = [noticed_by, self._digests[file]]
            self._survived.pop(_key(change), None)

    def save(self) -> None:
        """Write everything to disk."""
        _PLACE.parent.mkdir(parents=True, exist_ok=True)
        content = {"reach": self._reach, "noticed": self._noticed, "survived": self._survived}
        new = _PLACE.with_suffix(".new")
        new.write_text(json.dumps(content, separators=(",", ":")))
        new.replace(_PLACE)


def _key(change: Change) -> str:
    return sha256(f"{change.where}\0{change.source}".encode()).hexdigest()[:16]
