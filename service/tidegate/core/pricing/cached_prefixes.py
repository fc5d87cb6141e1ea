"""Remembers which prefixes of prompts are in the upstream's prompt cache."""

from collections import OrderedDict
from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.pricing.message_shape import Prefix
from tidegate.core.pricing.prompt_size import PromptSize

__all__ = ["CachedPrefixes"]

_CACHED_NS: Final = 280 * NS_PER_SECOND
"""A prefix is cached for five minutes after its last use. This leaves 20 s for the difference of clocks."""
_MOST_PREFIXES: Final = 10_000


class CachedPrefixes:
    """The prefixes that were used in the last minutes, at most 10,000. The one that expires first is dropped first.

    They are never dumped: digests are valid in one process only.
    """

    __slots__ = ("_expires_ns",)

    def __init__(self) -> None:
        self._expires_ns: OrderedDict[int, int] = OrderedDict()  # by digest

    def observe(self, prefixes: tuple[Prefix, ...], now_ns: int) -> None:
        """The upstream has read or written its cache for a prompt with these prefixes. Marked ones are cached."""
        for prefix in prefixes:
            if prefix.marked:
                self._expires_ns[prefix.digest] = now_ns + _CACHED_NS
                self._expires_ns.move_to_end(prefix.digest)
        while len(self._expires_ns) > _MOST_PREFIXES:
            self._expires_ns.popitem(last=False)

    def longest(self, prefixes: tuple[Prefix, ...], now_ns: int) -> PromptSize | None:
        """The size of the longest cached prefix; None if none is cached."""
        for prefix in reversed(prefixes):
            if self._expires_ns.get(prefix.digest, 0) > now_ns:
                return prefix.size
        return None
