"""The URL of the store: its forms, its file, and that its password is never shown."""

from pathlib import Path

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings import LoadedSettings, load_settings
from tidegate.settings.fields.store_url import StoreUrl
from tidegate.settings.loading.changes import changes_between

URL = "valkeys://tide:hunter2@cache:6380/1?prefix=team"
SHOWN = "valkeys://(hidden)@cache:6380/1?prefix=team"


def load(tmp_path: Path, content: str = "", **environ: str) -> LoadedSettings:
    file = tmp_path / "tidegate.toml"
    file.write_text(content, encoding="utf-8")
    return load_settings(environ, file)


def test_the_default_is_in_memory(tmp_path: Path) -> None:
    url = load(tmp_path).settings.store_url
    assert url.address is None
    assert str(url) == "memory://"


@pytest.mark.parametrize("origin", ["variable", "file", "secret file"])
def test_the_password_is_read_from_everywhere_and_shown_nowhere(origin: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{URL}\n", encoding="utf-8")
    loaded = {
        "variable": lambda: load(tmp_path, TIDEGATE_STORE_URL=URL),
        "file": lambda: load(tmp_path, f'store_url = "{URL}"'),
        "secret file": lambda: load(tmp_path, TIDEGATE_STORE_URL_FILE=str(secret)),
    }[origin]()
    address = loaded.settings.store_url.address
    assert address is not None
    assert (address.password, address.prefix) == ("hunter2", "team")
    for text in (str(loaded.settings), repr(loaded.settings.store_url), str(loaded.as_json()), *loaded.lines()):
        assert "hunter2" not in text
    assert loaded.as_json()["store_url"]["value"] == SHOWN
    assert any(line.startswith(f"store_url = '{SHOWN}'") for line in loaded.lines())


def test_a_wrong_url_in_the_file_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"tidegate.toml: store_url: got 'valkey://\(hidden\)@cache/x'"
    ) as caught:
        load(tmp_path, 'store_url = "valkey://ann:hunter2@cache/x"')
    assert "hunter2" not in str(caught.value)


def test_another_password_needs_a_restart_and_is_not_shown(tmp_path: Path) -> None:
    before = load(tmp_path, TIDEGATE_STORE_URL=URL).settings
    (change,) = changes_between(before, load(tmp_path, TIDEGATE_STORE_URL=URL.replace("hunter2", "other")).settings)
    assert (change.text, change.needs_restart, change.values) == ("store_url changed", True, None)


def test_no_url_is_equal_to_another_one() -> None:
    assert StoreUrl(URL) == StoreUrl(URL)
    assert StoreUrl(URL) != StoreUrl("memory://")
