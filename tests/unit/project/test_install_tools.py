"""`tests/install-tools.sh`, among fake programs: what it installs, and what it says where it cannot."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.project import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
_SCRIPT = ROOT / "tests/install-tools.sh"
_NEEDS = {
    target: dict(re.findall(r"^ *need ([\w-]+) ([\w-]+) ", text, re.MULTILINE))
    for target, text in re.findall(r"^([\w-]+)\)\n(.*?);;", _SCRIPT.read_text(), re.MULTILINE | re.DOTALL)
}
"""By make target: the Debian package of each program."""
_PACKAGES = _NEEDS["test"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the script where only these programs are, as this user."""

    def run(*programs: str, user_id: int, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        # Each fake shows its call; `id` answers as the real one.
        bodies = {
            name: f'echo "{name} $* frontend=$DEBIAN_FRONTEND runlevel=$RUNLEVEL" >> {tmp_path}/calls'
            for name in programs
        }
        for name, body in (bodies | {"id": f"echo {user_id}"}).items():
            fake = tmp_path / name
            fake.write_text(f"#!/bin/sh\n{body}\n")
            fake.chmod(0o755)
        return subprocess.run(
            ["/bin/bash", _SCRIPT, *arguments],
            cwd=ROOT,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    return run


def test_where_everything_is_there_nothing_happens(run: Run, tmp_path: Path) -> None:
    done = run(*_PACKAGES, "apt-get", user_id=0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "calls").exists()


def test_root_on_debian_gets_what_is_missing_without_questions(run: Run, tmp_path: Path) -> None:
    assert run(*(_PACKAGES.keys() - {"node", "promtool"}), "apt-get", user_id=0).returncode == 0
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update.startswith("apt-get -qq -o DPkg::Lock::Timeout=300 update ")
    assert " install -y --no-install-recommends nodejs prometheus " in install
    assert install.endswith("frontend=noninteractive runlevel=1")


@pytest.mark.parametrize(("programs", "user_id"), [(("curl", "apt-get"), 1000), (("curl",), 0)])
def test_others_are_told_exactly_what_is_missing(
    run: Run, tmp_path: Path, programs: tuple[str, ...], user_id: int
) -> None:
    done = run(*programs, user_id=user_id)
    assert done.returncode == 1
    *told, advice = done.stderr.splitlines()
    assert advice == "Install what is missing, then run make test again."
    assert [re.sub(r" \(.*\)", "", line) for line in told] == [
        f"make test needs the program {program}; on Debian: apt-get install --no-install-recommends {package}"
        for program, package in _PACKAGES.items()
        if program not in programs
    ]
    assert not (tmp_path / "calls").exists()


def test_another_target_gets_its_own_programs_and_no_others(run: Run, tmp_path: Path) -> None:
    assert run("wrk", "apt-get", user_id=0, arguments=("bench-gateway",)).returncode == 0
    assert " install -y --no-install-recommends nginx " in (tmp_path / "calls").read_text()
    assert _NEEDS["bench-gateway"].keys() == {"nginx", "wrk"}


@pytest.mark.parametrize("user_id", [0, 1000])
def test_the_stack_gets_the_library_of_its_collector_if_it_can(run: Run, tmp_path: Path, user_id: int) -> None:
    done = run(*_NEEDS["stack"], "apt-get", "ldconfig", user_id=user_id, arguments=("stack",))
    assert done.returncode == 0, done.stderr
    asked = [line for line in (tmp_path / "calls").read_text().splitlines() if "libpython3." in line]
    assert len(asked) == (user_id == 0)
