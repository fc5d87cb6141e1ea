"""Finds the object that the path of a call names."""

from typing import Final, NamedTuple

from tidegate.gateway.receive.request import BATCHES_ROUTE, COUNT_TOKENS_ROUTE, MESSAGES_ROUTE

__all__ = ["ObjectRoute", "object_route"]

_SHARED: Final = frozenset({"complete", "models", "chat"})
"""First segments of routes without objects: they create none, or name what all callers share."""
_MESSAGES: Final = frozenset({MESSAGES_ROUTE, COUNT_TOKENS_ROUTE})
_ORGANIZATION: Final = "organizations"
_SKILLS: Final = "skills"
_SKILL_ID: Final = "skill_"


class ObjectRoute(NamedTuple):
    """The parts of the path of a call about objects.

    Attributes:
        collection: such as `files` or `batches`.
        id: the object. An object inside of another, such as the version of a skill, belongs to the owner of the outer
            one, whose id this is. Empty: the call is about the collection.
        rest: the path after the id, without a slash at its beginning.
    """

    collection: str
    id: str = ""
    rest: str = ""

    @property
    def root(self) -> str:
        """The path of the collection."""
        return BATCHES_ROUTE if self.collection == "batches" else f"/v1/{self.collection}"


def object_route(path: str) -> ObjectRoute | None:
    """The object or the collection that a `/v1/…` path names; None if it names none that could belong to a tenant.

    Any path is about objects, unless it is known not to be: the API may get new ones. That holds for paths like
    `/v1/messages/Batches/…` as well, which a server may read in another way than this one. All of
    `/v1/organizations` is one object that no caller has created. Skills that Anthropic has made belong to nobody.
    """
    if path == BATCHES_ROUTE or path.startswith(f"{BATCHES_ROUTE}/"):
        parts = ["batches", *path.removeprefix(BATCHES_ROUTE).lstrip("/").split("/", 1)]
    else:
        parts = path.removeprefix("/v1/").split("/", 2)
    collection, object_id, rest = (*parts, "", "")[:3]
    if collection == _ORGANIZATION:
        return ObjectRoute(collection, _ORGANIZATION, rest)
    is_shared = path in _MESSAGES or collection in _SHARED
    if is_shared or (collection == _SKILLS and object_id and not object_id.startswith(_SKILL_ID)):
        return None
    return ObjectRoute(collection, object_id, rest)
