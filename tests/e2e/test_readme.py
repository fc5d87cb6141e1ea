"""Runs the commands in the READMEs, and compares their output with the READMEs.

`UPDATE_README=1 pytest tests/e2e/test_readme.py` writes the settings table and the outputs again. "…" in an output
matches anything; an output with "…" is compared and never written.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import output_of
from support.project import ROOT, project_files
from support.service_process import ServiceProcess, running
from tidegate.observe.metrics.catalogue import CATALOGUE
from tidegate.settings import settings_table

README = ROOT / "README.md"
SETTINGS = ROOT / "service/tidegate/settings/README.md"
PAGES_WITH_EXAMPLES = (README, ROOT / "service/tidegate/api/README.md")
UPDATE = os.environ.get("UPDATE_README") == "1"

EXAMPLE = re.compile(r"<!-- example: (?P<name>[\w-]+) -->\n```console\n\$ (?P<command>[^\n]+)\n```\n")
PYTHON = re.compile(r"```python\nimport anthropic\n(?P<code>.*?)```", re.DOTALL)
VOLATILE = re.compile(r"tg_[0-9a-f]{32}|\d+(?:\.\d+)?(?:e[+-]?\d+)?")
"""Request ids and numbers, which differ between runs."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(tmp_path_factory.mktemp("readme"), "serve", "--upstream", "simulator") as process:
        yield process


def block(name: str) -> re.Pattern[str]:
    """Matches an output in a README; group 1 is the output."""
    return re.compile(rf"<!-- output: {name} -->\n(?:```\n(.*?)\n```\n)?<!-- /output -->", re.DOTALL)


def matches(shown: str, printed: str) -> bool:
    """Whether an output is as shown, except numbers; "…" matches anything."""
    parts = (re.escape(VOLATILE.sub("0", part)) for part in shown.split("…"))
    return re.fullmatch(".*".join(parts), VOLATILE.sub("0", printed.strip()), re.DOTALL) is not None


def compare_or_update(page: Path, name: str, printed: str) -> None:
    text = page.read_text(encoding="utf-8")
    place = block(name).search(text)
    assert place is not None, f"{page.relative_to(ROOT)} has no output {name!r}"
    shown = place[1] or ""
    if UPDATE and "…" not in shown:
        output = f"<!-- output: {name} -->\n```\n{printed.strip()}\n```\n<!-- /output -->"
        page.write_text(text[: place.start()] + output + text[place.end() :], encoding="utf-8")
    else:
        assert matches(shown, printed), printed


def run_sdk_example(service: ServiceProcess) -> None:
    example = PYTHON.search(README.read_text(encoding="utf-8"))
    assert example is not None
    code = "import anthropic\n" + example["code"].replace("http://localhost:8080", service.url)
    # In a separate process: a program leaves its connections open until it exits.
    compare_or_update(README, "sdk", output_of(sys.executable, "-c", code))


def test_examples_print_what_the_readmes_show(service: ServiceProcess) -> None:
    # One test, because the status depends on earlier calls.
    run_sdk_example(service)
    examples = [
        (page, example) for page in PAGES_WITH_EXAMPLES for example in EXAMPLE.finditer(page.read_text("utf-8"))
    ]
    assert len(examples) >= 6
    for page, example in examples:
        command = example["command"].replace("localhost:8080", service.url.removeprefix("http://"))
        compare_or_update(page, example["name"], output_of("bash", "-c", command))


def test_the_settings_table_is_generated_from_the_settings() -> None:
    page = SETTINGS.read_text(encoding="utf-8")
    before, _, rest = page.partition("<!-- settings -->\n")
    table, _, after = rest.partition("<!-- /settings -->")
    if UPDATE:
        SETTINGS.write_text(
            f"{before}<!-- settings -->\n{settings_table()}\n<!-- /settings -->{after}", encoding="utf-8"
        )
    else:
        assert table.strip() == settings_table().strip()


MARKDOWN = project_files(".", ".md")


def test_metrics_that_the_documentation_names_exist() -> None:
    names = {metric.name for metric in CATALOGUE}
    exported = names | {f"{name}_{suffix}" for name in names for suffix in ("bucket", "sum", "count", "total")}
    named = {name for path in MARKDOWN for name in re.findall(r"`(tidegate_\w+)`", path.read_text("utf-8"))}
    assert len(named) >= 5
    assert sorted(named - exported) == []


def test_variables_that_the_documentation_names_exist() -> None:
    table = settings_table()
    text = "\n".join(path.read_text("utf-8") for path in MARKDOWN).replace(table.strip(), "")
    named = set(re.findall(r"`((?:TIDEGATE|CLAUDE|MAX_RATE)_[A-Z_]+)`", text))
    assert named
    assert [name for name in sorted(named) if f"`{name}`" not in table] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_links_exist(page: Path) -> None:
    linked = re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8"))
    assert [path for path in linked if not (page.parent / path).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150
