"""What Prometheus knew when a fault was at its height, kept so that pictures can be drawn again without the fault."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.daemon import daemon

__all__ = ["Recording"]

_DATABASE = "prometheus"
_CONFIGURATION = "prometheus.yml"


@dataclass(frozen=True, slots=True)
class Recording:
    """The database of a Prometheus, and the time of the picture.

    Attributes:
        folder: Where it is kept.
    """

    folder: Path

    def keep(self, stack: Path, at_seconds: float) -> None:
        """Keep the database of a stack that has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copytree(stack / _DATABASE, self.folder / _DATABASE)
        (self.folder / _CONFIGURATION).write_text("{}")
        (self.folder / "time").write_text(str(at_seconds))

    @property
    def at_seconds(self) -> float:
        """The time of the picture, in Unix time."""
        return float((self.folder / "time").read_text())

    @contextmanager
    def prometheus(self) -> Iterator[str]:
        """Run a Prometheus on the database, and yield its base URL."""

        def arguments(address: str) -> list[str]:
            return [
                f"--config.file={_CONFIGURATION}",
                f"--storage.tsdb.path={_DATABASE}",
                f"--web.listen-address={address}",
            ]

        with daemon(self.folder, "prometheus", "prometheus", arguments) as url:
            yield url
