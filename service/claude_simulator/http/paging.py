"""Paging of lists: `limit`, `after_id`, `before_id`, and the newer `page`."""

from collections.abc import Mapping, Sequence
from typing import Any

from claude_simulator.errors import invalid_request
from claude_simulator.http.routing import Exchange


def page_of(exchange: Exchange, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Selects the requested page of items that have an `id`.

    `next_page` is the `page` of the next request: here, the last id.

    Raises:
        ApiError: 400, `limit` is outside its range, or an id is not in the list.
    """
    limit = exchange.page_limit()
    ids = [item["id"] for item in items]
    before = _position(exchange, "before_id", ids)
    after = _position(exchange, "after_id", ids)
    page = _position(exchange, "page", ids) if after is None else after
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


def _position(exchange: Exchange, name: str, ids: Sequence[str]) -> int | None:
    wanted = exchange.query.get(name)
    if wanted is None:
        return None
    if wanted not in ids:
        raise invalid_request(f"{name}: {wanted[:80]!r} was given; an id of this list is allowed")
    return ids.index(wanted)
