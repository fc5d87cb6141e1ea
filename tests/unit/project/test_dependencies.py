import json
import re
import subprocess
import sys
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
    found: dict[str, list[str]] = {
        "run": project["project"]["dependencies"],
        "extras": [each for extra in project["project"]["optional-dependencies"].values() for each in extra],
        "dev": project["dependency-groups"]["dev"],
    }
    return found[kind]


@pytest.mark.parametrize("kind", ["run", "extras", "dev"])
def test_each_dependency_has_its_reason_beside_it(kind: str) -> None:
    unexplained = [
        requirement
        for requirement in _declared(kind)
        if not re.search(rf'^  "{re.escape(requirement)}", +# .{{5,}}', _PYPROJECT, re.MULTILINE)
    ]
    assert unexplained == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("run", "requirements.txt"), ("extras", "requirements-extras.txt"), ("dev", "requirements-dev.txt")],
)
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
    assert [
        line for line in requirements if not re.match(r"[\w.-]+(\[[\w, -]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("requirements.txt", "requirements-extras.txt"), ("requirements-extras.txt", "requirements-dev.txt")],
)
def test_a_larger_set_of_requirements_has_every_pin_of_the_smaller(smaller: str, larger: str) -> None:
    pins = _pins(larger)
    assert {name: pins.get(name) for name in _pins(smaller)} == _pins(smaller)


def test_the_pins_include_all_that_the_pinned_packages_need() -> None:
    # They are installed with `--no-deps`: pip would not say so.
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_base_install_has_none_of_the_packages_of_an_extra() -> None:
    assert set(map(_name, _declared("extras"))) & set(_pins("requirements.txt")) == set()


@pytest.mark.parametrize("lock", project_files(".", "package-lock.json"), ids=lambda path: path.parent.name)
def test_each_npm_package_is_locked_by_its_hash(lock: Path) -> None:
    installed = {name: package for name, package in json.loads(lock.read_text())["packages"].items() if name}
    assert installed
    assert [name for name, package in installed.items() if "integrity" not in package or "resolved" in package] == []
