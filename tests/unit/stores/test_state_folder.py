import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.errors import ConfigurationError
from tidegate.stores.state_folder import StateFolder, UnreadableStateFile


def test_an_empty_folder_has_no_state(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "new" / "folder") as folder:
        assert folder.read() is None


def test_the_last_state_is_read(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        folder.write(b"first")
        folder.write(b"second\nline")
    with StateFolder(tmp_path) as folder:
        assert folder.read() == b"second\nline"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "state"]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_a_file_cut_at_any_byte_is_set_aside(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        folder.write(bytes(range(40)))
        whole = (tmp_path / "state").read_bytes()
        for end in range(len(whole)):
            (tmp_path / "state").write_bytes(whole[:end])
            with pytest.raises(UnreadableStateFile, match=r"starting without it") as raised:
                folder.read()
            assert raised.value.moved_to == tmp_path / "state.unreadable"
            assert (tmp_path / "state.unreadable").read_bytes() == whole[:end]
            assert folder.read() is None


@given(st.binary(max_size=200))
def test_any_content_is_read_or_set_aside(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state")
    (path / "state").write_bytes(content)
    with StateFolder(path) as folder, pytest.raises(UnreadableStateFile):
        folder.read()


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"tidegate-state 2 whatever")
    with StateFolder(tmp_path) as folder, pytest.raises(UnreadableStateFile, match="another version of the format"):
        folder.read()


def test_a_failed_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with StateFolder(tmp_path) as folder:
        folder.write(b"old")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            folder.write(b"new")
        assert folder.read() == b"old"


def test_one_process_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tidegate.stores.state_folder import StateFolder\n"
        "with StateFolder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdin
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="no other running process"), StateFolder(tmp_path):
            pass
        holder.stdin.close()
    with StateFolder(tmp_path):  # the lock ends with its process
        pass


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="TIDEGATE_STATE_DIR"), StateFolder(tmp_path / "file" / "folder"):
        pass


def test_a_lock_that_is_handed_over_is_never_free_in_between(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as before:
        after = StateFolder(tmp_path)
        after.adopt(os.dup(before.lock))  # as a descriptor that was sent to another process
        before.release()
        with pytest.raises(RuntimeError, match="not held"):
            _ = before.lock
        with pytest.raises(ConfigurationError), StateFolder(tmp_path):
            pass
        after.release()
    with StateFolder(tmp_path):
        pass
