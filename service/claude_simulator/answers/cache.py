"""The prompt cache of the simulated API. Pure: time is an argument."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from claude_simulator.requests.models import Model
from claude_simulator.requests.prompt import PromptBlock

LOOKBACK_BLOCKS: Final = 20
"""Number of blocks before a breakpoint that are searched for an entry of an earlier request."""

TTL_SECONDS: Final = {"5m": 300.0, "1h": 3600.0}
"""Lifetime of an entry after its last use, by `ttl`."""


@dataclass(frozen=True, slots=True)
class InputUse:
    """The input tokens of one request. `uncached` tokens follow the last breakpoint."""

    uncached: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def charged(self) -> int:
        """Tokens that count against the input limit: all except cache reads."""
        return self.uncached + self.written_5m + self.written_1h


@dataclass(frozen=True, slots=True)
class CachePlan:
    """A request's reads from the cache, and the entries (key, ttl) that it writes when its response starts."""

    use: InputUse
    entries: tuple[tuple[bytes, str], ...] = ()


class PromptCache:
    """Prompt prefixes that were used within their time to live, at most `max_entries`."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._expires_seconds: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expires_seconds)

    def plan(self, model: Model, blocks: Sequence[PromptBlock], now_seconds: float) -> CachePlan:
        """Looks up a request. A prefix shorter than the model's minimum is not cached."""
        sums = _running_sums(blocks)
        total = sums[-1] if sums else 0
        breakpoints = [
            index
            for index, block in enumerate(blocks)
            if block.ttl is not None and sums[index] >= model.min_cache_prefix_tokens
        ]
        if not breakpoints:
            return CachePlan(InputUse(uncached=total))
        keys = _prefix_keys(model, blocks[: breakpoints[-1] + 1])
        read = max((sums[index] for index in self._found(keys, breakpoints, now_seconds)), default=0)
        written = {"5m": 0, "1h": 0}
        done = read
        for index in breakpoints:
            written[blocks[index].ttl or "5m"] += max(0, sums[index] - done)
            done = max(done, sums[index])
        return CachePlan(
            InputUse(uncached=total - done, read=read, written_5m=written["5m"], written_1h=written["1h"]),
            tuple((keys[index], blocks[index].ttl or "5m") for index in breakpoints),
        )

    def store(self, plan: CachePlan, now_seconds: float) -> None:
        """Writes the entries of a request, or renews their time to live."""
        for key, ttl in plan.entries:
            self._expires_seconds[key] = now_seconds + TTL_SECONDS[ttl]
            self._expires_seconds.move_to_end(key)
        while len(self._expires_seconds) > self._max_entries:
            self._expires_seconds.popitem(last=False)

    def _found(self, keys: Sequence[bytes], breakpoints: Sequence[int], now_seconds: float) -> list[int]:
        searched = {index for last in breakpoints for index in range(max(0, last - LOOKBACK_BLOCKS), last + 1)}
        return [index for index in searched if self._expires_seconds.get(keys[index], now_seconds) > now_seconds]


def _running_sums(blocks: Sequence[PromptBlock]) -> list[int]:
    sums: list[int] = []
    for block in blocks:
        sums.append(block.tokens + (sums[-1] if sums else 0))
    return sums


def _prefix_keys(model: Model, blocks: Sequence[PromptBlock]) -> list[bytes]:
    # Fast mode and standard speed share no entries ("Fast mode").
    running = hashlib.sha256(model.id.encode() + b"-fast" * model.is_fast)
    keys: list[bytes] = []
    for block in blocks:
        running.update(json.dumps(block.content, sort_keys=True).encode())
        keys.append(running.digest())
    return keys
