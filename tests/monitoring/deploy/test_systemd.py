"""`deploy/systemd`, as systemd itself reads it, and against what the service does."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.project import ROOT
from tidegate.settings import Settings

FOLDER = ROOT / "deploy/systemd"
MOST_EXPOSED = 1.5
"""By `systemd-analyze security`, which calls up to 2 "OK" and gives 9.6 to a service without any directive."""


def directives(unit: str) -> dict[str, list[str]]:
    """The values of each directive of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / unit).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs systemd's own reader of units. It needs no running systemd."""
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies of the units whose programs exist on every machine."""
    copies = []
    for unit in sorted(FOLDER.glob("tidegate.*")):
        copy = tmp_path / unit.name
        text = unit.read_text(encoding="utf-8")
        copy.write_text(re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/sh", text, flags=re.MULTILINE), encoding="utf-8")
        copies.append(copy)
    assert [copy.suffix for copy in copies] == [".service", ".socket"]
    return copies


def test_systemd_finds_no_fault(units: list[Path]) -> None:
    verified = analyze("verify", *units)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_systemd_finds_a_misspelt_directive(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("WatchdogSec=", "WatchDogSeconds="))
    assert "Unknown key 'WatchDogSeconds'" in analyze("verify", units[0]).stderr


def test_the_variant_for_newer_versions_is_valid_too(units: list[Path]) -> None:
    text = units[0].read_text()
    newer = re.sub(
        r"^ExecReload=.*\n", "", text.replace("\nType=notify\n", "\nType=notify-reload\n"), flags=re.MULTILINE
    )
    assert newer != text
    units[0].write_text(newer)
    verified = analyze("verify", *units)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_template_for_hand_overs_is_valid_and_its_instances_share_user_and_state(tmp_path: Path) -> None:
    text = (FOLDER / "tidegate.service").read_text()
    instances = [tmp_path / f"tidegate@{name}.service" for name in "ab"]
    for instance in instances:
        instance.symlink_to("tidegate@.service")
    template = re.sub(r"^ExecReload=\S+", "ExecReload=/bin/sh", text, flags=re.MULTILINE)
    template = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/sh serve --take-over", template, flags=re.MULTILINE)
    (tmp_path / "tidegate@.service").write_text(template)
    verified = analyze("verify", *instances)
    assert (verified.returncode, verified.stderr) == (0, "")
    service = directives("tidegate.service")
    assert (service["User"], service["StateDirectory"]) == (["tidegate"], ["tidegate"])


def test_little_is_exposed(units: list[Path]) -> None:
    overall = analyze("security", "--offline=true", units[0]).stdout.splitlines()[-1]
    found = re.search(r"Overall exposure level for tidegate.service: ([\d.]+) ", overall)
    assert found, overall
    assert float(found[1]) <= MOST_EXPOSED


def test_systemd_waits_for_the_default_drain() -> None:
    (seconds,) = directives("tidegate.service")["TimeoutStopSec"]
    settings = Settings()
    assert settings.drain_notice_seconds + settings.drain_seconds < int(seconds) <= 640


def test_secrets_are_credentials_and_in_no_variable() -> None:
    service = directives("tidegate.service")
    (credential,) = service["LoadCredential"]
    assert credential == "anthropic_api_key:/etc/tidegate/anthropic_api_key"
    assert "ANTHROPIC_API_KEY_FILE=%d/anthropic_api_key" in service["Environment"]
    assert not any(re.match(r"(ANTHROPIC_API_KEY|TIDEGATE_ADMIN_KEY)=", each) for each in service["Environment"])


def test_the_service_speaks_for_itself() -> None:
    service = directives("tidegate.service")
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == (["notify"], ["main"], ["mixed"])
    assert service["Restart"] == ["on-failure"]
    assert int(service["WatchdogSec"][0]) >= 10, "a garbage collection or a suspended machine is no hang"


def test_the_metrics_of_the_process_stay() -> None:
    """Without /proc/stat the Prometheus client exports no metric of the process, not even its memory."""
    assert "ProcSubset" not in directives("tidegate.service")
