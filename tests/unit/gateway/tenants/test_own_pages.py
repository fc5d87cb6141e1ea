"""Pages of own objects, from pages of an upstream that has the objects of all."""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gateway.tenants.cursors import Cursors, Position
from tidegate.gateway.tenants.own_pages import ListQuery, OwnPages, read_page

CURSORS = Cursors(lambda: b"key")
OWNED = st.lists(st.sampled_from("abc"), max_size=60)
LIMITS = st.sampled_from([1, 2, 3, 7, 20, 100])


class Upstream:
    """A list of objects, each of which is somebody's, newest first; paged as the API does."""

    def __init__(self, owners: list[str], style: str) -> None:
        self.items: list[dict[str, Any]] = [
            {"id": f"x_{number:03}{owner}", "n": number} for number, owner in enumerate(owners)
        ]
        self.style = style
        self.queries: list[dict[str, str]] = []

    def page(self, query: bytes) -> bytes:
        asked = {name: values[-1] for name, values in parse_qs(query.decode()).items()}
        self.queries.append(asked)
        limit = int(asked.get("limit", 20))
        ids = [item["id"] for item in self.items]
        if "before_id" in asked:
            end = ids.index(asked["before_id"])
            start = max(0, end - limit)
            more = start > 0
        else:
            start = ids.index(asked["after_id"]) + 1 if "after_id" in asked else 0
            if "page" in asked:
                start = int(base64.b64decode(asked["page"]).decode().partition(":")[0])
            end = start + limit
            more = end < len(ids)
        chosen = self.items[start:end]
        body: dict[str, Any] = {"data": chosen}
        if self.style != "tokens":
            edges = (chosen[0]["id"], chosen[-1]["id"]) if chosen else (None, None)
            body |= {"has_more": more, "first_id": edges[0], "last_id": edges[1]}
        if self.style != "ids":
            token = base64.b64encode(f"{end}:{chosen[-1]['id']}".encode()).decode() if more else None
            body |= {"next_page": token, "prev_page": "prev"} if self.style == "tokens" else {"next_page": token}
        return json.dumps(body).encode()


def page(upstream: Upstream, query: bytes, tenant: str = "a") -> tuple[dict[str, Any], bytes]:
    """One page of the tenant's objects."""
    read = ListQuery.of(query)
    start = None if read.page is None else CURSORS.open(read.page)
    assert read.page is None or start is not None
    pages = OwnPages(read, CURSORS, start)
    while (following := pages.next_query) is not None:
        found = read_page(upstream.page(following))
        assert found is not None
        pages.add(found, [str(item.id).endswith(tenant) for item in found.items])
    return json.loads(pages.body()), pages.body()


def by_token(body: dict[str, Any]) -> str | None:
    return f"page={body['next_page']}" if body["next_page"] else None


def by_id(body: dict[str, Any]) -> str | None:
    return f"after_id={body['last_id']}" if body["has_more"] else None


def all_pages(upstream: Upstream, limit: int | None, following: Callable[[dict[str, Any]], str | None]) -> list[str]:
    """The ids of all pages, in order. No page has a foreign id anywhere, and none is longer than asked."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        limited = "" if limit is None else f"&limit={limit}"
        body, raw = page(upstream, f"x=1{limited}&{cursor}".encode())
        foreign = [item["id"] for item in upstream.items if not item["id"].endswith("a")]
        assert not [each for each in foreign if each.encode() in raw]
        assert len(body["data"]) <= (limit or 20)
        found += [item["id"] for item in body["data"]]
        cursor = following(body)
        if cursor is not None:
            assert body["data"]  # SDKs before 2.x stop at an empty page
    assert all(query["x"] == "1" for query in upstream.queries)
    return found


def own(upstream: Upstream) -> list[str]:
    return [item["id"] for item in upstream.items if item["id"].endswith("a")]


@given(
    OWNED,
    st.none() | LIMITS,
    st.sampled_from([("ids", by_id), ("tokens", by_token), ("both", by_id), ("both", by_token)]),
)
def test_the_pages_together_are_the_own_objects_in_order(owners: list[str], limit: int | None, style: Any) -> None:
    upstream = Upstream(owners, style[0])
    assert all_pages(upstream, limit, style[1]) == own(upstream)


def test_of_repeated_cursors_the_upstream_gets_the_one_that_was_checked() -> None:
    query = ListQuery.of(b"after_id=x_theirs&order=asc&after_id=x_own&limit=5")
    assert (query.after_id, query.text) == ("x_own", b"order=asc&after_id=x_own&limit=5")
    assert ListQuery.of(b"limit=5&after_id=%78").text == b"limit=5&after_id=%78"


def test_an_empty_cursor_is_none() -> None:
    query = ListQuery.of(b"before_id=&after_id=")
    assert (query.before_id, query.after_id) == (None, None)


@given(OWNED, LIMITS)
def test_a_list_is_read_backwards(owners: list[str], limit: int) -> None:
    upstream = Upstream(["a", *owners, "a"], "ids")
    found: list[str] = []
    cursor, more = upstream.items[-1]["id"], True
    while more:
        body, _ = page(upstream, f"limit={limit}&before_id={cursor}".encode())
        found = [*(item["id"] for item in body["data"]), *found]
        assert len(body["data"]) <= limit
        cursor, more = body["first_id"], body["has_more"]
    assert found == own(upstream)[:-1]


@given(OWNED, st.sampled_from([("ids", by_id), ("both", by_token)]), st.data())
def test_what_is_deleted_between_two_pages_hides_nothing_else(
    owners: list[str], style: Any, data: st.DataObject
) -> None:
    upstream = Upstream(owners, style[0])
    first, _ = page(upstream, b"limit=3")
    seen = [item["id"] for item in first["data"]]
    cursor = style[1](first)
    rest = [each for each in own(upstream) if each not in seen]
    assert (cursor is None) == (not rest)
    if cursor is not None:
        # As with the API, the object that is the cursor must still be there.
        deletable = [number for number, item in enumerate(upstream.items) if item["id"] not in {*rest, seen[-1]}]
        if deletable:
            del upstream.items[data.draw(st.sampled_from(deletable))]
        second, _ = page(upstream, f"limit=100&{cursor}".encode())
        assert [item["id"] for item in second["data"]] == rest


@given(st.integers(1, 40), st.booleans())
def test_a_page_that_begins_in_the_middle_of_another_does_so_if_its_last_object_is_deleted(
    limit: int,
    is_deleted: bool,  # noqa: FBT001 - drawn
) -> None:
    upstream = Upstream(list("abab" * 50), "tokens")
    first, _ = page(upstream, f"limit={limit}".encode())
    cursor = by_token(first)
    last = first["data"][-1]["id"]
    start = CURSORS.open(first["next_page"])
    if is_deleted and start is not None and start.after:
        assert start.after == last
        del upstream.items[[item["id"] for item in upstream.items].index(last)]
    second, _ = page(upstream, f"limit={limit}&{cursor}".encode())
    expected = [each for each in own(upstream) if each > last]
    assert [item["id"] for item in second["data"]] == expected[:limit]


def test_the_objects_are_sent_as_they_came() -> None:
    raw = b'{"data": [{"id":"x_a",  "price": 1.50, "\\u0061": "\\u00e9"}, {"id": "x_b"}], "last_id": 1}'
    found = read_page(raw)
    assert found is not None
    pages = OwnPages(ListQuery.of(b""), CURSORS)
    pages.add(found, [True, False])
    assert b'{"id":"x_a",  "price": 1.50, "\\u0061": "\\u00e9"}' in pages.body()
    assert json.loads(pages.body())["last_id"] == "x_a"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": 1}', b'{"data": ["x"]}', b'{"data": [}', b"\xff"])
def test_something_else_is_no_list(body: bytes) -> None:
    assert read_page(body) is None


def test_without_a_page_there_is_no_body() -> None:
    with pytest.raises(RuntimeError):
        OwnPages(ListQuery.of(b""), CURSORS).body()


@pytest.mark.parametrize(("style", "can_stop"), [("tokens", True), ("ids", False)])
def test_a_search_may_be_stopped(style: str, can_stop: object) -> None:
    found = read_page(Upstream(["b"] * 5, style).page(b"limit=2"))
    assert found is not None
    pages = OwnPages(ListQuery.of(b"limit=2"), CURSORS)
    pages.add(found, [False, False])
    assert pages.next_query is not None
    assert pages.stop() == can_stop
    assert pages.next_query is None
    assert json.loads(pages.body())["data"] == []


@given(st.text(), st.text(), st.integers(0, 1000), st.text(), st.integers(0, 1000))
def test_a_cursor_is_opened_by_its_key_alone_and_shows_nothing(
    name: str, value: str, limit: int, after: str, skip: int
) -> None:
    position = Position(name, value, limit, after, skip)
    sealed = CURSORS.seal(position)
    assert CURSORS.open(sealed) == position
    assert Cursors(lambda: b"other").open(sealed) is None
    assert len(value) < 8 or value not in sealed.removeprefix("page_tg_")
    assert CURSORS.seal(position) != sealed


@given(
    st.text()
    | st.text().map(lambda text: f"page_tg_{text}")
    | st.binary().map(lambda text: "page_tg_" + base64.urlsafe_b64encode(text).decode().rstrip("="))
)
def test_any_other_text_is_no_cursor(text: str) -> None:
    assert CURSORS.open(text) is None
