"""The files of the project, for tests that check the repository itself."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MADE_BY_TOOLS = {"node_modules", "__pycache__", "dist", "build", "htmlcov"}


def project_files(folder: str = ".", suffix: str = "") -> list[Path]:
    """All files of the project, without generated files and hidden folders other than `.ci`."""
    return sorted(path for path in _walk(ROOT / folder) if path.name.endswith(suffix))


def packages() -> list[Path]:
    """The folders of Python modules under `service/tidegate`."""
    return sorted({path.parent for path in project_files("service/tidegate", ".py")})


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file() and path.name != ".git" and not path.name.startswith(".coverage"):
            yield path
        elif path.is_dir() and path.name not in _MADE_BY_TOOLS and (path.name[0] != "." or path.name == ".ci"):
            yield from _walk(path)
