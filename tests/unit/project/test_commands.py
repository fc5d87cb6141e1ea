"""The Makefile and the layers: what a developer runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.project import ROOT


def _make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # The environment counts as installed, whatever its date.
    installed = ("--assume-old=.venv/.installed", "--assume-old=.venv/.runnable")
    arguments = (*arguments, "--no-print-directory", *installed)
    passed_on = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ANTHROPIC_"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=passed_on | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_alone_lists_every_target() -> None:
    only_for_others = {"test-tools"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) - only_for_others
    listed = {line.split()[1] for line in _make().stdout.splitlines()}
    assert listed == targets
    assert listed >= {"run", "test", "check", "format", "bench", "requirements", "clean"}


def test_make_test_runs_every_folder_of_tests() -> None:
    (command,) = (line for line in _make("-n", "test").stdout.splitlines() if "/pytest " in line)
    assert " tests" not in command, "the folders are the testpaths in pyproject.toml"


def test_run_without_a_key_serves_simulated_answers() -> None:
    assert _make("-n", "run").stdout.strip() == "exec .venv/bin/tidegate serve --upstream simulator"


def test_run_with_a_key_serves_real_answers_and_does_not_show_it() -> None:
    assert _make("-n", "run", ANTHROPIC_API_KEY="sk-ant-fake").stdout.strip() == "exec .venv/bin/tidegate serve"


def test_run_installs_only_what_running_needs() -> None:
    for target, is_for_tests in ((".venv/.elsewhere/.runnable", False), (".venv/.elsewhere/.installed", True)):
        planned = _make("-n", target, "VENV=.venv/.elsewhere").stdout
        installs = re.findall(r"pip install --quiet --no-deps --require-hashes (.+)", planned)
        assert "-r requirements.txt " in installs[0]
        assert ("-r requirements-dev.txt" in installs) is is_for_tests


def test_the_build_tools_are_those_of_the_image() -> None:
    pattern = r"hatchling\|[\w|-]+"
    (in_makefile,) = re.findall(pattern, (ROOT / "Makefile").read_text())
    (in_image,) = re.findall(pattern, (ROOT / "deploy/Dockerfile").read_text())
    assert in_makefile == in_image


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_an_unfit_python_is_reported_in_one_sentence(python: str) -> None:
    made = _make(
        "--assume-new=pyproject.toml", ".venv/.elsewhere/.runnable", "VENV=.venv/.elsewhere", f"PYTHON={python}"
    )
    said = [line for line in made.stderr.splitlines() if line.startswith("Tidegate ")]
    assert made.returncode != 0
    assert said == [f'Tidegate needs Python 3.11 or newer as "{python}"; name another with: make PYTHON=python3.12']


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / program), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_imports_point_downwards() -> None:
    checked = _run("lint-imports", "--no-cache")
    assert checked.returncode == 0, checked.stdout


def test_pytest_does_not_collect_the_script() -> None:
    collected = _run("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "service")
    assert "no tests collected in" in collected.stdout, collected.stdout
