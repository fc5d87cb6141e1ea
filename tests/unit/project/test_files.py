import ast
import re
import statistics
from collections import Counter

import pytest

from support.project import ROOT, packages, project_files

_LINES_AT_MOST = {"service": 400, "dashboards": 400, "deploy": 400, "tests": 500}
_MODULES_AT_MOST = 17


def _lines(text: str) -> int:
    return len(text.splitlines())


def test_there_are_no_other_top_level_folders() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in project_files() if path.parent != ROOT}
    assert folders == {".ci", "dashboards", "deploy", "service", "tests"}


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"])
def test_the_project_explains_itself(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("folder", ["dashboards", "deploy", "service", "tests"])
def test_each_top_level_folder_explains_itself(folder: str) -> None:
    assert _lines((ROOT / folder / "README.md").read_text()) >= 5


@pytest.mark.parametrize(
    ("folder", "readme"), [("service/tidegate", "service/README.md"), ("tests", "tests/README.md")]
)
def test_a_readme_names_each_folder(folder: str, readme: str) -> None:
    folders = {
        path.relative_to(ROOT / folder).parts[0] for path in project_files(folder) if path.parent != ROOT / folder
    }
    assert [name for name in folders if f"{name}/`" not in (ROOT / readme).read_text()] == []


def test_each_package_explains_itself() -> None:
    silent = [
        str(package.relative_to(ROOT))
        for package in packages()
        if not ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("folder", _LINES_AT_MOST)
def test_no_module_is_too_long_to_read(folder: str) -> None:
    lengths = {str(path.relative_to(ROOT)): _lines(path.read_text()) for path in project_files(folder, ".py")}
    assert {name: lines for name, lines in lengths.items() if lines > _LINES_AT_MOST[folder]} == {}


def test_no_folder_of_the_service_has_too_many_modules() -> None:
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for path in project_files("service", ".py")
        if path.name != "__init__.py" and path.parent.name != "versions"  # migrations only ever become more
    )
    assert {folder: count for folder, count in counts.items() if count > _MODULES_AT_MOST} == {}


def test_the_usual_module_is_short() -> None:
    lengths = [_lines(path.read_text()) for path in project_files("service", ".py")]
    assert statistics.median(lengths) <= 150


def test_every_module_says_what_it_is_for_by_its_name() -> None:
    assert [path for path in project_files("service", ".py") if path.stem in {"utils", "util", "helpers", "misc"}] == []


def test_services_is_a_namespace_package() -> None:
    assert not (ROOT / "service/services/__init__.py").exists()


def test_unit_tests_drive_no_program_that_npm_or_debian_installs() -> None:
    drivers = re.compile(r"^from support\.(?:client_environment|daemon|sdks) import", re.MULTILINE)
    found = [
        str(path.relative_to(ROOT)) for path in project_files("tests/unit", ".py") if drivers.search(path.read_text())
    ]
    assert found == [], "they belong in tests/integration, tests/e2e or tests/monitoring"


# No address of a registry, and no path of one machine, may get into a file that others use on theirs.
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.$}])/(?:work|home|Users|root)/\w",
        r'"resolved": *"http',
        r"registry *= *[\"']?http",
        r"https?://(?:[\w-]+\.)*(?:registry|pypi|pythonhosted|npmjs)\.\w",
        r"--(?:extra-)?index-url[ =]",
    ],
)
def test_no_file_names_a_place_of_one_machine(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in project_files()
        for match in re.finditer(pattern, path.read_text(errors="replace"))
    ]
    assert found == []
