"""`tidegate record`, as far as it records nothing."""

from pathlib import Path

import pytest

from support.command_line import run
from support.daemon import free_port
from support.valkey_server import valkey_server
from tidegate.core.domain.errors import ConfigurationError


def record(*arguments: str) -> str:
    return run("record", *arguments, catch_exceptions=False).output


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_recording_replaces_no_file_and_needs_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEGATE_STORE_URL", f"valkey://:hunter2@127.0.0.1:{free_port()}")
    (tmp_path / "old").write_text("kept")
    with pytest.raises(ConfigurationError, match="FILE: got 'old', allowed is the path of a file that does not exist"):
        record("old")
    assert (tmp_path / "old").read_text() == "kept"
    with pytest.raises(ConfigurationError, match="FILE: got 'no/file', allowed is a path that can be written"):
        record("no/file")
    with pytest.raises(ConfigurationError, match=r"TIDEGATE_STORE_URL: .*a server that answers") as raised:
        record("new")
    assert "hunter2" not in str(raised.value)
    assert not (tmp_path / "new").exists()


def test_without_a_leader_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with valkey_server(tmp_path) as port:
        monkeypatch.setenv("TIDEGATE_STORE_URL", f"valkey://127.0.0.1:{port}")
        printed = record("new", "--seconds", "0.1")
    assert "nothing was recorded, because no replica has led in this time" in printed
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
