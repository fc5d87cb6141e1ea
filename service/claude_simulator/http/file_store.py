"""The files that one simulated API keeps."""

import tempfile
from dataclasses import dataclass
from typing import IO, Any, Final

from claude_simulator.errors import ApiError

MAX_STORED_FILES: Final = 200
_MEMORY_BYTES: Final = 64 * 1024
MAX_STORED_BYTES: Final = 2 * 1024 * 1024 * 1024


class Content(tempfile.SpooledTemporaryFile[bytes]):
    """What is in a file: small ones are kept in memory, others on disk. Closes itself when nobody uses it any more."""

    def __init__(self) -> None:
        super().__init__(_MEMORY_BYTES)

    def __del__(self) -> None:
        self.close()  # without the warning: a simulator that is dropped drops its files


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and its content."""

    info: dict[str, Any]
    content: IO[bytes]


class FileStore:
    """The files of one simulated API, newest first in lists; bounded in number and size."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def add(self, info: dict[str, Any], content: IO[bytes]) -> None:
        """Keep a file.

        Raises:
            ApiError: 403, the storage is full.
        """
        stored_bytes = sum(file.info["size_bytes"] for file in self._files.values())
        if len(self._files) >= MAX_STORED_FILES or stored_bytes + info["size_bytes"] > MAX_STORED_BYTES:
            content.close()
            raise ApiError(403, "permission_error", "Storage limit exceeded; delete files before you add more")
        self._files[info["id"]] = StoredFile(info, content)

    def find(self, file_id: str) -> StoredFile:
        """The file with this id.

        Raises:
            ApiError: 404, there is none.
        """
        if file_id not in self._files:
            raise ApiError(404, "not_found_error", f"File not found: {file_id[:80]}")
        return self._files[file_id]

    def remove(self, file_id: str) -> None:
        """Forget a file; raises as `find`."""
        self.find(file_id).content.close()
        del self._files[file_id]

    def listing(self) -> list[dict[str, Any]]:
        """What is known of each file, newest first."""
        return [file.info for file in reversed(self._files.values())]
