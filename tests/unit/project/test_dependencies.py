import json
import re
import tomllib
from pathlib import Path

import pytest

from support.project import ROOT, project_files

_PYPROJECT = (ROOT / "pyproject.toml").read_text()
_PINNED = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", re.MULTILINE)


def _name(requirement: str) -> str:
    """The normalized name of a distribution, out of a requirement such as `uvicorn[standard]>=0.54 ; …`."""
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def _pins(name: str) -> dict[str, str]:
    return {_name(found[1]): found[2] for found in _PINNED.finditer((ROOT / name).read_text())}


def _declared(kind: str) -> list[str]:
    project = tomllib.loads(_PYPROJECT)
    found: list[str] = project["project"]["dependencies"] if kind == "run" else project["dependency-groups"][kind]
    return found


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_each_dependency_has_its_reason_beside_it(kind: str) -> None:
    unexplained = [
        requirement
        for requirement in _declared(kind)
        if not re.search(rf'^  "{re.escape(requirement)}", +# .{{5,}}', _PYPROJECT, re.MULTILINE)
    ]
    assert unexplained == []


@pytest.mark.parametrize(("kind", "name"), [("run", "requirements.txt"), ("dev", "requirements-dev.txt")])
def test_each_dependency_is_pinned(kind: str, name: str) -> None:
    assert {_name(requirement) for requirement in _declared(kind)} - set(_pins(name)) == set()


@pytest.mark.parametrize(
    "path",
    [path for path in project_files(".", ".txt") if path.name.startswith("requirements")],
    ids=lambda path: path.name,
)
def test_each_pin_has_its_hashes(path: Path) -> None:
    # A requirement and its hashes are one logical line: its physical lines end in a backslash.
    requirements = path.read_text().replace("\\\n", " ").splitlines()
    assert [line for line in requirements if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_development_runs_on_what_production_runs_on() -> None:
    production = _pins("requirements.txt")
    development = _pins("requirements-dev.txt")
    assert {name: development.get(name) for name in production} == production


@pytest.mark.parametrize("lock", project_files(".", "package-lock.json"), ids=lambda path: path.parent.name)
def test_each_npm_package_is_locked_by_its_hash(lock: Path) -> None:
    installed = {name: package for name, package in json.loads(lock.read_text())["packages"].items() if name}
    assert installed
    assert [name for name, package in installed.items() if "integrity" not in package or "resolved" in package] == []
