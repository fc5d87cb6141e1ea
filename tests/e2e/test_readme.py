"""The README is true: its commands are run, and what they print is what it shows.

`UPDATE_README=1 pytest tests/e2e/test_readme.py` writes the settings table and the outputs anew.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.service_process import ServiceProcess, running
from tidegate.observe.metrics.catalogue import CATALOGUE
from tidegate.settings import settings_table

README = Path(__file__).parents[2] / "README.md"
UPDATE = os.environ.get("UPDATE_README") == "1"

EXAMPLE = re.compile(r"<!-- example: (?P<name>[\w-]+) -->\n```console\n\$ (?P<command>[^\n]+)\n```\n")
PYTHON = re.compile(r"```python\nimport anthropic\n(?P<code>.*?)```", re.DOTALL)
VOLATILE = re.compile(r"tg_[0-9a-f]{32}|\d+(?:\.\d+)?(?:e[+-]?\d+)?")
"""Request ids, and figures: they differ from run to run."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(tmp_path_factory.mktemp("readme"), "serve", "--upstream", "simulator") as process:
        yield process


def block(name: str) -> re.Pattern[str]:
    """The place of an output; group 1 is what stands there."""
    return re.compile(rf"<!-- output: {name} -->\n(?:```\n(.*?)\n```\n)?<!-- /output -->", re.DOTALL)


def compare_or_update(name: str, printed: str) -> None:
    readme = README.read_text(encoding="utf-8")
    place = block(name).search(readme)
    assert place is not None, f"the README has no output {name!r}"
    if UPDATE:
        text = f"<!-- output: {name} -->\n```\n{printed.strip()}\n```\n<!-- /output -->"
        README.write_text(readme[: place.start()] + text + readme[place.end() :], encoding="utf-8")
    else:
        assert VOLATILE.sub("0", place[1] or "") == VOLATILE.sub("0", printed.strip())


def run_sdk_example(service: ServiceProcess) -> None:
    example = PYTHON.search(README.read_text(encoding="utf-8"))
    assert example is not None
    code = "import anthropic\n" + example["code"].replace("http://localhost:8080", service.url)
    # A process of its own: as a program does, it leaves closing connections to its end.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    compare_or_update("sdk", done.stdout)


def test_examples_print_what_the_readme_shows(service: ServiceProcess) -> None:
    # One test: what the status shows depends on what was called before.
    run_sdk_example(service)
    examples = list(EXAMPLE.finditer(README.read_text(encoding="utf-8")))
    assert len(examples) >= 6
    for example in examples:
        command = example["command"].replace("localhost:8080", service.url.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stderr)
        compare_or_update(example["name"], done.stdout)


def test_the_configuration_table_is_generated_from_the_settings() -> None:
    readme = README.read_text(encoding="utf-8")
    before, _, rest = readme.partition("<!-- settings -->\n")
    table, _, after = rest.partition("<!-- /settings -->")
    if UPDATE:
        README.write_text(f"{before}<!-- settings -->\n{settings_table()}\n<!-- /settings -->{after}", encoding="utf-8")
    else:
        assert table.strip() == settings_table().strip()


def test_metrics_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"`(tidegate_\w+)`", README.read_text(encoding="utf-8")))
    assert len(named) >= 5
    assert named <= {metric.name for metric in CATALOGUE}


def test_variables_that_the_readme_names_exist() -> None:
    readme = README.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:TIDEGATE|CLAUDE|MAX_RATE)_\w+)`", readme.replace(settings_table(), "")))
    assert named
    assert [name for name in named if f"| `{name}` |" not in settings_table()] == []


def test_files_that_the_readme_links_exist() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert linked
    assert [path for path in linked if not (README.parent / path).exists()] == []
