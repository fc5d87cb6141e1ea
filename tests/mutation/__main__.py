"""`make mutate`: changes the core in small ways, one at a time, and counts which changes no test notices.

    python tests/mutation bucket ramp --minutes 10

mutmut finds a package under `src/` only: so a tree of that shape is made beside this file, and thrown away at the end.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_PROJECT: Final = Path(__file__).parents[2]
_CORE: Final = _PROJECT / "service" / "tidegate" / "core"
_FLOOR: Final = 0.85
_SETTINGS: Final = """
[tool.mutmut]
source_paths = ["src/tidegate"]
only_mutate = [{modules}]
pytest_add_cli_args = ["--hypothesis-profile=mutation"]
pytest_add_cli_args_test_selection = ["tests/unit/core"]
also_copy = ["tests"]

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
pythonpath = ["tests", "."]
"""
_RESULT: Final = re.compile(r"^\s*tidegate\.core\.(\w+)\.(\S+): (.+)$")


def main() -> int:
    """Prints the share of changes that a test noticed, by module, and those that none did; 1 below 85 %."""
    names = sorted(path.stem for path in _CORE.glob("*.py") if path.stem != "__init__")
    parser = argparse.ArgumentParser("mutate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help="of the core; all, if none is named")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time (60)")
    options = parser.parse_args()
    unknown = set(options.modules) - set(names)
    if unknown:
        parser.error(f"module: {', '.join(sorted(unknown))} was given; allowed are {', '.join(names)}")
    with TemporaryDirectory(prefix="tidegate-mutation-") as folder:
        return _judge(_run(Path(folder), options.modules or names, options.minutes))


def _run(folder: Path, modules: list[str], minutes: float) -> list[tuple[str, str, str]]:
    """Module, change and what became of it, for each change that was tried."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_PROJECT / "service" / "tidegate", folder / "src" / "tidegate", ignore=ignored)
    for name in ("unit/core", "support"):
        shutil.copytree(_PROJECT / "tests" / name, folder / "tests" / name, ignore=ignored)
    shutil.copy(_PROJECT / "tests" / "conftest.py", folder / "tests")
    chosen = ", ".join(f'"src/tidegate/core/{module}.py"' for module in modules)
    (folder / "pyproject.toml").write_text(_SETTINGS.format(modules=chosen))
    mutmut = [sys.executable, "-m", "mutmut"]
    try:
        subprocess.run([*mutmut, "run", "--max-children", "2"], cwd=folder, check=False, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"\nstopped after {minutes:g} minutes\n")
    said = subprocess.run(
        [*mutmut, "results", "--all", "true"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    return [match.groups() for line in said.splitlines() if (match := _RESULT.match(line))]  # type: ignore[misc]


def _judge(results: list[tuple[str, str, str]]) -> int:
    tried = Counter(module for module, _, result in results if result != "not checked")
    survived = [(module, change) for module, change, result in results if result in {"survived", "no tests"}]
    unnoticed = Counter(module for module, _ in survived)
    for module, count in sorted(tried.items()):
        sys.stdout.write(f"{module:16} {count:5} {1 - unnoticed[module] / count:6.1%}\n")
    total = sum(tried.values())
    share = 1 - len(survived) / total if total else 0.0
    sys.stdout.write("".join(f"survived: {module}.{change}\n" for module, change in survived))
    sys.stdout.write(f"{total} changes, {share:.1%} noticed\n")
    return 0 if share >= _FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
