"""Stores uploaded files."""

import tempfile
from dataclasses import dataclass
from typing import IO, Any, Final

from claude_simulator.errors import ApiError

MAX_STORED_FILES: Final = 200
_MEMORY_BYTES: Final = 64 * 1024
MAX_STORED_BYTES: Final = 2 * 1024 * 1024 * 1024


class Content(tempfile.SpooledTemporaryFile[bytes]):
    """The content of a file: in memory if it is small, else on disk. Closed when it is no longer referenced."""

    def __init__(self) -> None:
        super().__init__(_MEMORY_BYTES)

    def __del__(self) -> None:
        self.close()  # avoids the warning about an unclosed file when a simulator is discarded


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The metadata and content of a file."""

    info: dict[str, Any]
    content: IO[bytes]


class FileStore:
    """The files of one simulated API; bounded in number and size."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def add(self, info: dict[str, Any], content: IO[bytes]) -> None:
        """Stores a file.

        Raises:
            ApiError: 403, the storage is full.
        """
        stored_bytes = sum(file.info["size_bytes"] for file in self._files.values())
        if len(self._files) >= MAX_STORED_FILES or stored_bytes + info["size_bytes"] > MAX_STORED_BYTES:
            content.close()
            raise ApiError(403, "permission_error", "Storage limit exceeded; delete files before you add more")
        self._files[info["id"]] = StoredFile(info, content)

    def find(self, file_id: str) -> StoredFile:
        """Looks up a file by its id.

        Raises:
            ApiError: 404, it does not exist.
        """
        if file_id not in self._files:
            raise ApiError(404, "not_found_error", f"File not found: {file_id[:80]}")
        return self._files[file_id]

    def remove(self, file_id: str) -> None:
        """Deletes a file; raises as `find`."""
        self.find(file_id).content.close()
        del self._files[file_id]

    def listing(self) -> list[dict[str, Any]]:
        """Metadata of all files, newest first."""
        return [file.info for file in reversed(self._files.values())]
