"""The image's recipe: linted, pinned, without root."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from support.project import ROOT

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    linted = subprocess.run([hadolint, ROOT / "deploy/Dockerfile"], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_each_base_is_pinned_to_a_patch_release() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert [base for base in bases if not re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)] == []


def test_each_download_is_checked_by_its_hash() -> None:
    # What is left was built in the image, out of the checkout.
    installs = re.findall(r"pip install (.+?)(?= \\$|$)", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 3
    assert [line for line in installs if not line.startswith(("--no-deps --require-hashes ", "--no-deps dist/"))] == []


def test_the_build_tools_are_complete() -> None:
    named = re.search(r"wanted = /\^\((\S+)\)==/", DOCKERFILE)
    assert named
    assert set(named[1].split("|")) == _with_what_it_needs("hatchling")


def _with_what_it_needs(name: str) -> set[str]:
    needed = [Requirement(line) for line in requires(name) or ()]
    here = [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return {name}.union(*map(_with_what_it_needs, here))


def test_the_image_has_every_extra() -> None:
    assert "/opt/tidegate/bin/pip install --no-deps --require-hashes -r requirements-extras.txt" in DOCKERFILE


def test_it_does_not_run_as_root_and_has_a_health_check() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "\nUSER 10001\n" in final
    assert "/healthz" in final.partition("\nHEALTHCHECK ")[2]
    assert re.findall(r"^(?:ENTRYPOINT|CMD) (.+)", final, re.MULTILINE) == ['["tidegate"]', '["serve"]']


def test_the_build_sees_only_what_it_copies() -> None:
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)).split()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
