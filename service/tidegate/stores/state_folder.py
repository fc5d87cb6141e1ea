"""The state folder: one file that carries over a restart what was learned and configured.

The file is replaced as a whole. A header names the format and the SHA-256 of what follows, so that a file cut short or
changed is noticed before anything of it is used.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tidegate.core.domain.errors import ConfigurationError, TidegateError

__all__ = ["StateFolder", "UnreadableStateFile"]

_MAGIC: Final = b"tidegate-state 1 "
_DIGEST_CHARACTERS: Final = 64
_FILE: Final = "state"
_LOCK: Final = "lock"
_SET_ASIDE: Final = "state.unreadable"
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class UnreadableStateFile(TidegateError):
    """The state file cannot be used; it was set aside, and the service starts without it.

    Attributes:
        moved_to: where the file is now; None if it could not be moved.
    """

    def __init__(self, reason: str, path: Path, moved_to: Path | None) -> None:
        self.moved_to = moved_to
        where = f"moved to {moved_to}" if moved_to else "could not be moved"
        super().__init__(f"state file {path} is unreadable ({reason}), {where}; starting without it")


class StateFolder:
    """Holds the lock of a state folder while the block runs; one process at a time writes to a folder.

    Used as `with StateFolder(path) as folder:`. A process that hands the folder over passes on the descriptor of the
    lock, which belongs to all processes that have it, and closes its own.

    Args:
        path: the folder.

    Attributes:
        path: the folder.

    Raises:
        ConfigurationError: on entering, if the folder cannot be made or written to, or another process holds its lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
        except OSError as error:
            allowed = f"a folder that this process may write to ({error.strerror})"
            raise ConfigurationError("TIDEGATE_STATE_DIR", str(self.path), allowed) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            allowed = "a folder that no other running process uses"
            raise ConfigurationError("TIDEGATE_STATE_DIR", str(self.path), allowed) from None
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    @property
    def lock(self) -> int:
        """The descriptor of the lock.

        Raises:
            RuntimeError: the lock is not held.
        """
        if self._lock is None:
            raise RuntimeError("the lock of the state folder is not held")
        return self._lock

    def adopt(self, lock: int) -> None:
        """Holds the lock whose descriptor another process has handed over."""
        self._lock = lock

    def release(self) -> None:
        """Gives the lock up, unless another process has it as well."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, state: bytes) -> None:
        """Replaces the state atomically: after a crash the file holds the old state or the new one.

        Raises:
            OSError: the disk is full or failing; the old state is kept.
        """
        new = self.path / f"{_FILE}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(state).hexdigest().encode() + b"\n" + state)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / _FILE)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self) -> bytes | None:
        """The state that was written last; None if there is none.

        Raises:
            UnreadableStateFile: the file is cut short, changed, of another version, or cannot be read; it is set aside.
        """
        try:
            content = (self.path / _FILE).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.set_aside(error.strerror or "I/O error") from None
        if not content.startswith(_MAGIC):
            known = _MAGIC.startswith(content) or content.startswith(_MAGIC[:-2])
            raise self.set_aside("another version of the format" if known and content else "no state file")
        digest, separator, state = content[len(_MAGIC) :].partition(b"\n")
        if not separator or len(digest) != _DIGEST_CHARACTERS or hashlib.sha256(state).hexdigest().encode() != digest:
            raise self.set_aside("cut short or changed")
        return state

    def set_aside(self, reason: str) -> UnreadableStateFile:
        """Renames the state file, so that it can be looked at, and returns the error that says so.

        An older file that was set aside is replaced.
        """
        path, aside = self.path / _FILE, self.path / _SET_ASIDE
        try:
            path.replace(aside)
        except OSError:
            return UnreadableStateFile(reason, path, None)
        return UnreadableStateFile(reason, path, aside)
