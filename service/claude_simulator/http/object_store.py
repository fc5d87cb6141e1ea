"""Stores objects that only have members: skills, agents, sessions and others."""

from typing import Any, Final

from claude_simulator.errors import ApiError

MAX_STORED_OBJECTS: Final = 2_000
"""Of all collections together. Beyond that, nothing can be created."""


class ObjectStore:
    """The objects of one simulated API, by collection: `agents`, or `agents/agent_1/versions`."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, dict[str, Any]]] = {}

    def add(self, collection: str, info: dict[str, Any]) -> None:
        """Stores an object.

        Raises:
            ApiError: 403, the storage is full.
        """
        if sum(map(len, self._collections.values())) >= MAX_STORED_OBJECTS:
            raise ApiError(403, "permission_error", "Storage limit exceeded; delete objects before you add more")
        self._collections.setdefault(collection, {})[info["id"]] = info

    def find(self, collection: str, object_id: str) -> dict[str, Any]:
        """Looks up an object.

        Raises:
            ApiError: 404, it does not exist.
        """
        found = self._collections.get(collection, {}).get(object_id)
        if found is None:
            raise ApiError(404, "not_found_error", f"Not found: {object_id[:80]}")
        return found

    def remove(self, collection: str, object_id: str) -> None:
        """Deletes an object and those inside of it; raises as `find`."""
        self.find(collection, object_id)
        del self._collections[collection][object_id]
        for inner in [each for each in self._collections if each.startswith(f"{collection}/{object_id}/")]:
            del self._collections[inner]

    def listing(self, collection: str) -> list[dict[str, Any]]:
        """All objects of a collection, newest first."""
        return list(reversed(self._collections.get(collection, {}).values()))
