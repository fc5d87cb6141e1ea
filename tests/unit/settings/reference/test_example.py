"""The example of a configuration file: complete, valid, and with the defaults."""

import re
import tomllib
from pathlib import Path

from support.project import ROOT
from tidegate.settings import CallerSettings, PoolLimits, Settings, load_settings
from tidegate.settings.reference.example import example_file

FILE = ROOT / "service/tidegate/tidegate.example.toml"


def test_the_committed_file_is_what_the_settings_make() -> None:
    assert FILE.read_text(encoding="utf-8") == example_file(), (
        f"run: .venv/bin/tidegate example > {FILE.relative_to(ROOT)}"
    )


def test_the_file_changes_nothing_as_it_is() -> None:
    assert load_settings({}, FILE).settings == Settings()


def test_it_has_every_key_and_is_valid_with_all_of_them(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=\[\[|\w+ = )", "", example_file(), flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert set(values) == set(Settings.model_fields)
    assert set(values["callers"][0]) == set(CallerSettings.model_fields)
    assert set(values["pools"][0]) == set(PoolLimits.model_fields)
    copy = tmp_path / "tidegate.toml"
    copy.write_text(text, encoding="utf-8")
    settings, defaults = load_settings({}, copy).settings, Settings()
    for name in Settings.model_fields:
        default = getattr(defaults, name)
        assert default in {None, ()} or getattr(settings, name) == default, name
