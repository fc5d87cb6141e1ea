"""Finds who could be admitted soonest among many, each with a cost in three dimensions."""

import heapq
from collections.abc import Callable
from typing import Final

from tidegate.core.dimension import Cost

__all__ = ["FitIndex"]

Order = tuple[int, float]
"""Who goes first of those who could be admitted equally soon: the smallest."""

_Node = tuple[Cost, Order] | None
"""The least cost in each dimension, and the smallest order, of all below; None where there is nobody."""

_FIRST_SIZE: Final = 8


class FitIndex:
    """A tournament tree over numbered places. O(log places) to set one; to search, where one dimension decides."""

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._size = _FIRST_SIZE
        self._nodes: list[_Node] = [None] * (2 * _FIRST_SIZE)

    def set(self, place: int, cost: Cost, order: Order) -> None:
        """Somebody stands at this place, instead of whoever did."""
        while place >= self._size:
            self._grow()
        self._put(place, (cost, order))

    def remove(self, place: int) -> None:
        """Nobody stands at this place."""
        if place < self._size:
            self._put(place, None)

    def clear(self) -> None:
        """Nobody stands anywhere."""
        if self._nodes[1] is not None:
            self._nodes = [None] * (2 * self._size)

    def soonest(self, wait_ns: Callable[[Cost], int | None]) -> tuple[int, int] | None:
        """The place of who could be admitted soonest, and after how long.

        `wait_ns` tells this for a cost, None for never; what costs less in each dimension may never take longer.
        """
        # Best first: what all below a node could reach at best is where to look on.
        found: list[tuple[int, Order, int]] = []
        self._consider(1, wait_ns, found)
        while found:
            waits_ns, _, index = heapq.heappop(found)
            if index >= self._size:
                return index - self._size, waits_ns
            self._consider(2 * index, wait_ns, found)
            self._consider(2 * index + 1, wait_ns, found)
        return None

    def _consider(self, index: int, wait_ns: Callable[[Cost], int | None], found: list[tuple[int, Order, int]]) -> None:
        node = self._nodes[index]
        if node is not None and (waits_ns := wait_ns(node[0])) is not None:
            heapq.heappush(found, (waits_ns, node[1], index))

    def _put(self, place: int, node: _Node) -> None:
        nodes, index = self._nodes, self._size + place
        nodes[index] = node
        while index > 1:
            index //= 2
            nodes[index] = _best(nodes[2 * index], nodes[2 * index + 1])

    def _grow(self) -> None:
        leaves = self._nodes[self._size :]
        self._size *= 2
        self._nodes = [*([None] * self._size), *leaves, *([None] * len(leaves))]
        for index in range(self._size - 1, 0, -1):
            self._nodes[index] = _best(self._nodes[2 * index], self._nodes[2 * index + 1])


def _best(one: _Node, other: _Node) -> _Node:
    if one is None or other is None:
        return one or other
    return Cost(*map(min, one[0], other[0])), min(one[1], other[1])
