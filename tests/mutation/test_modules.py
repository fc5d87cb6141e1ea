"""The names by which `make mutate` and `survivors.toml` refer to modules of the core, and the tests left out."""

import tomllib
from pathlib import Path

import pytest

from mutation.__main__ import LEFT_OUT
from mutation.changes import MODULES, _difference, changes_of, modules_by_name


def test_two_modules_of_one_name_are_refused() -> None:
    paths = [Path("core/quota/quota.py"), Path("core/limits/quota.py")]
    with pytest.raises(ValueError, match=r"core/quota/quota\.py and core/limits/quota\.py have the same name"):
        modules_by_name(paths)


def test_packages_are_not_modules() -> None:
    assert modules_by_name([Path("core/pool/__init__.py"), Path("core/limits/__init__.py")]) == {}


def test_survivors_toml_names_modules_that_exist() -> None:
    content = tomllib.loads(Path(__file__).with_name("survivors.toml").read_text())
    listed = {change["where"].partition(".")[0] for group in content["survivors"] for change in group["changes"]}
    assert listed <= set(MODULES)


@pytest.mark.parametrize("test", LEFT_OUT)
def test_the_tests_that_are_left_out_exist(test: str) -> None:
    file, _, name = test.partition("::")
    assert not name or f"def {name}(" in (Path(__file__).parents[2] / file).read_text()


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("a\nb\nc", "a\nx\nc", "b → x"),
        ("a\nb  # why\nc", "a\nc", "b → "),
        ("a\nb", "a", "b → "),
        ("a\na\nb", "a\nb", "a → "),
    ],
)
def test_a_change_is_described_by_the_lines_that_differ(before: str, after: str, difference: str) -> None:
    assert _difference(before, after) == difference


def test_protocols_have_nothing_to_change() -> None:
    assert changes_of("store") == []
