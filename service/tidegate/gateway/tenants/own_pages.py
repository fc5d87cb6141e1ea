"""Makes one page of a caller's own objects from pages of the upstream, which have those of all tenants. Pure.

A list has one of two styles. With ids (`first_id`, `last_id`, `has_more`), a page begins `after_id` or ends before
`before_id`. With tokens (`next_page`), it begins at a `page`. A list that sends both is read by ids.
Source: Python SDK 2.13.0, `pagination.py`, and the `…_list_params.py` of all resources.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Raw

from tidegate.gateway.tenants.cursors import Cursors, Position

__all__ = ["Item", "ListQuery", "OwnPages", "UpstreamPage", "read_page"]

_DEFAULT_LIMIT: Final = 20
_LARGEST_LIMIT: Final = 1_000
"""The largest page of lists with ids: those of batches, and of files in the older SDKs."""
_COMMON_LIMIT: Final = 100
"""The largest page that all lists with tokens allow."""
_CURSORS: Final = frozenset({"limit", "page", "after_id", "before_id"})
_NONE: Final = Raw(b"null")


class Item(msgspec.Struct):
    """The members of an object that say whose it is.

    Attributes:
        id: the object; not a text if it has none.
        source: who has made a skill.
        scope, deployment_id: the object that has created this one.
    """

    id: Any = None
    source: Any = None
    scope: Any = None
    deployment_id: Any = None

    @property
    def name(self) -> str | None:
        """The id; None if the object has none."""
        return self.id if isinstance(self.id, str) and self.id else None

    @property
    def parent(self) -> str | None:
        """The object that has created this one, for its own owner: a session its files, a deployment its sessions."""
        scope = self.scope.get("id") if isinstance(self.scope, dict) else None
        parent = self.deployment_id or scope
        return parent if isinstance(parent, str) else None


class UpstreamPage(NamedTuple):
    """A page of the upstream.

    Attributes:
        members: the members of the body.
        data: the objects, as they were sent.
        items: what is read of them.
    """

    members: dict[str, Raw]
    data: list[Raw]
    items: list[Item]

    def text(self, name: str) -> str | None:
        """A member that is a text and not empty; else None."""
        value = _value(self.members.get(name, _NONE))
        return value if isinstance(value, str) and value else None

    @property
    def has_more(self) -> bool:
        """Whether the list goes on, as it says."""
        return _value(self.members.get("has_more", _NONE)) is True


_BODY: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_DATA: Final = msgspec.json.Decoder(list[Raw]).decode
_ITEM: Final = msgspec.json.Decoder(Item).decode
_value: Final[Callable[[Raw], object]] = msgspec.json.Decoder().decode


def read_page(body: bytes) -> UpstreamPage | None:
    """Reads the body of a list; None if it is not one."""
    try:
        members = _BODY(body)
        data = _DATA(members["data"])
        return UpstreamPage(members, data, [_ITEM(each) for each in data])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None


class ListQuery(NamedTuple):
    """The query of a list.

    Attributes:
        pairs: all parameters but those that choose a page.
        limit: the wanted number of objects; None if it is not given, or not a number.
        page, after_id, before_id: where the page begins or ends; None if it is not given.
        text: the query as the client sent it, but of repeated parameters that choose a page only the last.
    """

    pairs: Sequence[tuple[str, str]]
    limit: int | None
    page: str | None
    after_id: str | None
    before_id: str | None
    text: bytes

    @classmethod
    def of(cls, text: bytes) -> "ListQuery":
        """Reads a query."""
        pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True)
        others = [pair for pair in pairs if pair[0] not in _CURSORS]
        given = {name: value for name, value in pairs if name in _CURSORS}
        if len(others) + len(given) < len(pairs):  # the upstream must not take another one than is checked here
            text = urlencode([*others, *given.items()]).encode()
        limit = given.get("limit", "")
        return cls(
            others,
            int(limit) if limit.isascii() and limit.isdigit() and len(limit) <= len(str(_LARGEST_LIMIT)) else None,
            given.get("page"),
            given.get("after_id") or None,
            given.get("before_id") or None,
            text,
        )

    def at(self, name: str, value: str, limit: int) -> bytes:
        """The query with another cursor and limit."""
        limits = [("limit", str(limit))] if limit else []
        cursor = [(name, value)] if name else []
        return urlencode([*self.pairs, *limits, *cursor]).encode()


class OwnPages:
    """Collects own objects until the client's page is full, or the list ends.

    Used as `while (query := pages.next_query) is not None: pages.add(page, is_own)`, and then `pages.body()`.

    Args:
        query: the client's.
        cursors: make the cursors of lists with tokens.
        start: the position that the client's `page` has.

    Attributes:
        next_query: the query for the next page of the upstream; None: the page is complete.
    """

    def __init__(self, query: ListQuery, cursors: Cursors, start: Position | None = None) -> None:
        self._query = query
        self._cursors = cursors
        self._at = start or Position()
        self._wanted = query.limit or 0
        self._reads_back = query.before_id is not None
        self._first: UpstreamPage | None = None
        self._by_ids = False
        self._own: list[tuple[Item, Raw]] = []
        self._last_number = 0  # of the last own object, in its page
        self._has_more = False
        self._next: Position | None = None
        self.next_query: bytes | None = query.text
        if start is not None:
            self.next_query = query.at(start.name, start.value, start.limit or self._wanted)

    def add(self, page: UpstreamPage, is_own: Sequence[bool]) -> None:
        """Adds a page of the upstream; `is_own` says for each of its objects whether the client may see it."""
        if self._first is None:
            self._first = page
            self._by_ids = "last_id" in page.members
            default = _DEFAULT_LIMIT if self._at.limit else max(_DEFAULT_LIMIT, len(page.data))
            self._wanted = self._wanted or default
        own = [(item, raw) for item, raw, own in zip(page.items, page.data, is_own, strict=True) if own]
        if self._by_ids:
            self._add_by_ids(page, own)
        else:
            self._add_by_token(page, is_own)

    def stop(self) -> bool:
        """Ends the search although the list goes on. Returns False if that leaves the client without a cursor."""
        self.next_query = None
        self._has_more = True
        return bool(self._own) or not self._by_ids

    def body(self) -> bytes:
        """The body of the response: the first page's, with other objects and cursors."""
        if self._first is None:
            raise RuntimeError("no page was added")
        own = self._own[-self._wanted :] if self._reads_back else self._own[: self._wanted]
        first, last = (own[0][0].name, own[-1][0].name) if own else (None, None)
        following = self._next
        if self._by_ids and self._has_more and last is not None and not self._reads_back:
            following = Position("after_id", last)
        cursors = {
            "has_more": self._has_more if self._by_ids else following is not None,
            "first_id": first,
            "last_id": last,
            "next_page": None if following is None else self._cursors.seal(following),
            "prev_page": None,
        }
        members = {name: cursors.get(name, value) for name, value in self._first.members.items()}
        return msgspec.json.encode({**members, "data": [raw for _, raw in own]})

    def _add_by_ids(self, page: UpstreamPage, own: list[tuple[Item, Raw]]) -> None:
        """Searches for one object more than wanted, to know whether there are more."""
        self._own = [*own, *self._own] if self._reads_back else [*self._own, *own]
        edge = page.text("first_id" if self._reads_back else "last_id")
        self.next_query = None
        if len(self._own) > self._wanted:
            self._has_more = True
        elif page.has_more and edge is not None:
            name = "before_id" if self._reads_back else "after_id"
            self.next_query = self._query.at(name, edge, max(self._wanted, _LARGEST_LIMIT))

    def _add_by_token(self, page: UpstreamPage, is_own: Sequence[bool]) -> None:
        begin = self._begin(page)
        token = page.text("next_page")
        self.next_query = None
        for number in range(begin, len(page.items)):
            if not is_own[number]:
                continue
            if len(self._own) == self._wanted:  # it is in the next page, which begins in the middle of this one
                self._next = msgspec.structs.replace(
                    self._at, after=self._own[-1][0].name or "", skip=self._last_number + 1
                )
                return
            self._own.append((page.items[number], page.data[number]))
            self._last_number = number
        if token is None:
            self._next = None
            return
        self._next = Position("page", token)
        if len(self._own) < self._wanted:
            self._at = Position("page", token, max(self._wanted, _COMMON_LIMIT))
            self.next_query = self._query.at("page", token, self._at.limit)

    def _begin(self, page: UpstreamPage) -> int:
        """The number of the first object of the page that is not in an earlier page of the client."""
        if not self._at.after:
            return 0
        ids = [item.name for item in page.items]
        if self._at.after in ids:
            return ids.index(self._at.after) + 1
        return max(0, self._at.skip - 1)  # it was deleted, and the others have moved up
