"""The wheel holds everything, and the older import paths work from it as from the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from support.programs import output_of
from support.project import ROOT, project_files

_OLDER_PROGRAM = """
from services.dsl_generator.rate_limiter import (
    RateLimitConfig, get_global_rate_limiter, set_global_rate_limiter_config,
)
from services.dsl_generator.ai_client import AIClient
import services.dsl_generator.rate_limiter as module
print(module.__file__)
"""


def build(kind: str, folder: Path) -> None:
    """Builds a distribution, `wheel` or `sdist`, into a folder."""
    output_of(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=ROOT, timeout=100)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build("wheel", folder)
    (path,) = folder.glob("tidegate-*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    folder = wheel.parent / "unpacked"
    shutil.unpack_archive(wheel, folder, "zip")
    return folder


def _run(program: str, *paths: Path, cwd: Path) -> str:
    """Runs a program that sees these folders before everything that is installed; returns what it printed."""
    first = f"import sys; sys.path[:0] = {[str(path) for path in paths]}\n"
    # Coverage is that of the checkout: a second copy of every file would count as untested.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return output_of(sys.executable, "-I", "-c", first + program, cwd=cwd, env=environment).strip()


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    expected = {str(path.relative_to(ROOT / "service")) for path in project_files("service")} - {"README.md"}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected


def test_the_metadata_leads_to_source_documentation_and_changes(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", ()))
    assert set(urls) == {"Documentation", "Source", "Changelog"}
    assert all(url.startswith("https://") for url in urls.values())


def test_the_wheel_writes_the_monitoring_of_an_installation(unpacked: Path, tmp_path: Path) -> None:
    program = """
from pathlib import Path
from tidegate.monitoring.export import export
print(*export(Path("out"), job="tidegate", grafana_url="https://grafana.example", runbooks_url=None), sep="\\n")
"""
    written = _run(program, unpacked, cwd=tmp_path).splitlines()
    assert written == ["out/rules", "out/dashboards", "out/alertmanager.yml", "out/runbooks"]
    assert {path.name for path in (tmp_path / "out/runbooks").iterdir()} == {
        path.name for path in project_files("service/tidegate/monitoring/runbooks")
    }
    for path in ("rules/tidegate-alerts.yml", "dashboards/tidegate-overview.json", "alertmanager.yml"):
        assert (tmp_path / "out" / path).stat().st_size > 1_000


def test_type_checkers_find_the_types_of_both_packages(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    (installed,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    shutil.unpack_archive(wheel, installed, "zip")
    user = tmp_path / "user.py"
    user.write_text(
        "from services.dsl_generator.rate_limiter import RateLimitConfig\n"
        "from tidegate.core.domain.errors import Refusal\n"
        "reveal_type(RateLimitConfig().burst_limit)\n"
        "reveal_type(Refusal.row)\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", tmp_path / "venv/bin/python")
    output = output_of(*mypy, user, cwd=tmp_path, timeout=110)
    assert 'Revealed type is "int"' in output
    assert "tidegate.core.domain.cause.CauseRow" in output


def test_the_source_distribution_has_no_stray_files(tmp_path: Path) -> None:
    build("sdist", tmp_path)
    (path,) = tmp_path.glob("tidegate-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    expected = {str(path.relative_to(ROOT)) for path in project_files("service")}
    beside = {"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"}
    made = {"PKG-INFO", "pyproject.toml", ".gitignore"}
    assert names == expected | beside | made


def test_the_older_paths_work_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    assert _run(_OLDER_PROGRAM, unpacked, cwd=tmp_path).startswith(str(unpacked))


def test_the_older_paths_work_from_the_checkout(tmp_path: Path) -> None:
    assert _run(_OLDER_PROGRAM, ROOT / "service", cwd=tmp_path).startswith(str(ROOT))


def test_a_services_folder_of_the_user_keeps_working_beside_it(unpacked: Path, tmp_path: Path) -> None:
    own = tmp_path / "services/billing"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("CURRENCY = 'EUR'\n")
    program = _OLDER_PROGRAM + "from services.billing import CURRENCY\nprint(CURRENCY)\n"
    assert _run(program, tmp_path, unpacked, cwd=tmp_path).endswith("EUR")
