"""Which beginnings of a prompt may be in the upstream's cache."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.core.price import Prefix

__all__ = ["cacheable_prefixes"]


def cacheable_prefixes(fields: Mapping[str, Any]) -> tuple[Prefix, ...]:
    """The beginnings of a Messages body at each of its blocks, up to the last one that is marked by `cache_control`.

    The order is the upstream's: tools, system, messages (Claude Platform Docs, "Prompt caching", read 2026-11-24). A
    marker at the top of the body stands for the last block. Earlier blocks count too: the upstream looks back for a
    shorter beginning that an earlier request has marked.
    """
    digest, size, prefixes, longest = hashlib.sha256(str(fields.get("model")).encode()), 0, [], 0
    for block in _blocks(fields):
        marked = isinstance(block, dict) and "cache_control" in block
        text = _text(block)
        digest.update(text)
        size += len(text)
        prefixes.append(Prefix(digest.digest(), size, marked))
        if marked:
            longest = len(prefixes)
    if "cache_control" in fields and prefixes:
        prefixes[-1] = prefixes[-1]._replace(marked=True)
        longest = len(prefixes)
    return tuple(prefixes[:longest])


def _text(block: object) -> bytes:
    """The block as most clients send it, without the marker: where the prompt is marked changes no beginning."""
    if isinstance(block, dict):
        block = {name: value for name, value in block.items() if name != "cache_control"}
    return json.dumps(block, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def _blocks(fields: Mapping[str, Any]) -> Iterator[object]:
    yield from _listed(fields.get("tools"))
    yield from _listed(fields.get("system"))
    for message in _listed(fields.get("messages")):
        yield from _listed(message.get("content") if isinstance(message, dict) else message)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
