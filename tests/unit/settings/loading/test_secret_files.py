"""Secrets from files: what they hold, where they came from, and faults that never quote them."""

from pathlib import Path

import pytest

from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.settings import LoadedSettings, load_settings, settings_table
from tidegate.settings.loading.secret_files import SECRETS, file_variable
from tidegate.settings.reference.example import example_file

KEY = "sk-ant-xqzvmark"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "secret"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tidegate.toml"
    file.write_text("", encoding="utf-8")
    return file


def value(loaded: LoadedSettings, name: str) -> str:
    found: str = getattr(loaded.settings, name).get_secret_value()
    return found


def test_the_secrets_are_the_keys_and_the_url_of_the_store() -> None:
    assert {"anthropic_api_key", "admin_key", "store_url"} == SECRETS


@pytest.mark.parametrize("name", ["admin_key", "anthropic_api_key"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_holds_a_secret_and_is_its_origin(name: str, end: str, secret: Path, config: Path) -> None:
    secret.write_bytes(f"{KEY}{end}".encode())
    loaded = load_settings({file_variable(name): str(secret)}, config)
    assert value(loaded, name) == KEY
    assert loaded.origins[name] == str(secret)
    assert f"{name} = (set)  ({secret})" in loaded.lines()
    assert KEY not in str(loaded.as_json())


def test_a_file_overrides_the_configuration_file(secret: Path, config: Path) -> None:
    secret.write_text(KEY, encoding="utf-8")
    config.write_text('admin_key = "other"', encoding="utf-8")
    assert value(load_settings({"TIDEGATE_ADMIN_KEY_FILE": str(secret)}, config), "admin_key") == KEY


def test_each_reading_reads_the_file_again(secret: Path, config: Path) -> None:
    environ = {"ANTHROPIC_API_KEY_FILE": str(secret)}
    for key in ("first", "second"):
        secret.write_text(key, encoding="utf-8")
        assert value(load_settings(environ, config), "anthropic_api_key") == key


def test_an_empty_variable_names_no_file(config: Path) -> None:
    environ = {"ANTHROPIC_API_KEY_FILE": "", "ANTHROPIC_API_KEY": KEY}
    assert value(load_settings(environ, config), "anthropic_api_key") == KEY


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"xqzvmark\nxqzvmark\n", "several lines"),
        (b"xqzvmark\x00", "control characters"),
        (b"xqzvmark\xff", "not UTF-8"),
    ],
)
def test_a_fault_names_the_variable_and_the_file_without_its_content(
    content: bytes | None, reason: str, secret: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.chdir(secret.parent)  # errors shorten long values, such as the path of a test's folder
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"ANTHROPIC_API_KEY_FILE": "./secret"}, config)
    text = str(raised.value)
    assert text.startswith("ANTHROPIC_API_KEY_FILE: got './secret', allowed is the path of a readable file")
    assert reason in text
    assert "xqzvmark" not in text


def test_a_secret_in_the_variable_of_its_file_is_not_shown(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file") as raised:
        load_settings({"ANTHROPIC_API_KEY_FILE": KEY}, config)
    assert KEY not in str(raised.value)


def test_both_variables_of_a_secret_are_a_fault_beside_all_others(secret: Path, config: Path) -> None:
    environ = {
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_API_KEY_FILE": str(secret),
        "TIDEGATE_ADMIN_KEY_FILE": "/no/such",
        "TIDEGATE_PORT": "x",
    }
    with pytest.raises(ConfigurationErrors) as raised:
        load_settings(environ, config)
    faults = {fault.field: str(fault) for fault in raised.value.faults}
    assert "only without ANTHROPIC_API_KEY, which is set as well" in faults["ANTHROPIC_API_KEY_FILE"]
    assert {"ANTHROPIC_API_KEY_FILE", "TIDEGATE_ADMIN_KEY_FILE", "TIDEGATE_PORT"} <= set(faults)
    assert KEY not in str(raised.value)


def test_a_file_is_only_for_secrets(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="TIDEGATE_PORT_FILE"):
        load_settings({"TIDEGATE_PORT_FILE": "/some/file"}, config)


def test_the_table_and_the_example_name_the_variables() -> None:
    for name in SECRETS:
        assert f"or `{file_variable(name)}`" in settings_table()
        assert f"{file_variable(name)} for a file with it" in " ".join(example_file().replace("##", "").split())
