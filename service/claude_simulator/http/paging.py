"""Pages of a list that is newest first: `limit`, `after_id`, `before_id`, and the newer `page`."""

from collections.abc import Mapping, Sequence
from typing import Any

from claude_simulator.errors import invalid_request
from claude_simulator.http.routing import Visit


def page_of(visit: Visit, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The page that a request asks for, of items that have an `id`.

    `next_page` is what the next request's `page` should be: here, the last id.

    Raises:
        ApiError: 400, `limit` is out of range or an id is none of the list's.
    """
    limit = visit.page_limit()
    ids = [item["id"] for item in items]
    before = _position(visit, "before_id", ids)
    after = _position(visit, "after_id", ids)
    page = _position(visit, "page", ids) if after is None else after
    if before is not None:
        start, end = max(0, before - limit), before
    else:
        start = 0 if page is None else page + 1
        end = start + limit
    chosen = items[start:end]
    has_more = start > 0 if before is not None else end < len(items)
    return {
        "data": list(chosen),
        "has_more": has_more,
        "first_id": chosen[0]["id"] if chosen else None,
        "last_id": chosen[-1]["id"] if chosen else None,
        "next_page": chosen[-1]["id"] if has_more and before is None else None,
    }


def _position(visit: Visit, name: str, ids: Sequence[str]) -> int | None:
    wanted = visit.query.get(name)
    if wanted is None:
        return None
    if wanted not in ids:
        raise invalid_request(f"{name}: {wanted[:80]!r} was given; an id of this list is allowed")
    return ids.index(wanted)
