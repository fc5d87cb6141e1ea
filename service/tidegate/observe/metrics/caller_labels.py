"""The values of the label `caller`. Every metric and gauge with this label takes them from here."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.observe.metrics.labels import NONE, OTHER, LabelSet

__all__ = ["CallerLabels"]

_USES_FOR_A_LABEL: Final = 100
_WINDOW_USES: Final = 2_500
"""After so many uses by callers without a label, their counts are halved. So a caller whose share of these uses stays
above 2 % gets a label, and one below does not, unless its calls come in a burst."""


class CallerLabels(LabelSet):
    """Gives at most `most` callers a label of their own. All others share the label `other`.

    The rule:

    1. As long as at most `most` callers are known, each has its own label from the start.
    2. If more are known, a caller gets a label by use, while there is room. The first half of the labels goes to the
       callers that are used first. The second half goes to callers that are used most: to those that reach 100 uses, in
       counts that are halved after every 2,500 uses by callers without a label. A call is two uses.
    3. A caller keeps its label until the process ends. Its earlier use stays in `other`.

    So no series ever falls or ends, every use counts in exactly one series, and `sum(rate())` over all callers is right
    at any time. The rate of a caller's own series is right from the moment it has its label.

    Callers that are not known, because they are neither configured nor in the ledger, never get a label.

    Args:
        most: the number of callers with a label of their own, beside the caller `default`.

    >>> labels = CallerLabels(2)
    >>> labels.know(["web", "nightly", "agents"])
    >>> labels.use("web"), labels.label("web")
    (True, 'web')
    >>> labels.use("nightly"), labels.label("nightly")
    (False, 'other')
    """

    def __init__(self, most: int) -> None:
        super().__init__([DEFAULT_CALLER.label], max_added=most)
        self._most = most
        self._given = 0
        self._callers: set[str] = set()
        self._uses: Counter[str] = Counter()
        self._uses_in_window = 0

    @property
    def in_use(self) -> list[str]:
        """All labels that callers count under: `other` only if a known caller has no label of its own."""
        return [*self.own, *([OTHER] if self._given < len(self._callers) else [])]

    def know(self, values: Iterable[str]) -> None:
        """Adds configured callers, or callers of the ledger."""
        new = set(values) - {DEFAULT_CALLER.label, OTHER, NONE, ""}
        self._callers |= new
        if len(self._callers) <= self._most:
            for value in new:
                self._give(value)

    def use(self, value: str) -> bool:
        """Counts a use by a caller without a label of its own. Returns True if the caller has just earned one."""
        if value in self._values or self._given >= self._most or value not in self._callers:
            return False
        self._uses[value] += 1
        self._uses_in_window += 1
        is_early = 2 * self._given < self._most
        if is_early or self._uses[value] >= _USES_FOR_A_LABEL:
            del self._uses[value]
            return self._give(value)
        if self._uses_in_window >= _WINDOW_USES:
            self._uses_in_window = 0
            self._uses = Counter({name: uses // 2 for name, uses in self._uses.items() if uses > 1})
        return False

    def known(self, value: str) -> str:
        """The caller's name, with or without a label of its own; `other` if the caller is not known.

        There are as many of these as callers. They are for what is not exported.
        """
        return value if value in self._callers or value == DEFAULT_CALLER.label else OTHER

    def label_of_name(self, name: str) -> str:
        """The label of a caller that is given by its name: `default` if the caller is not known."""
        return self.label(name) if name in self._callers else DEFAULT_CALLER.label

    def _give(self, value: str) -> bool:
        given = self.add(value)
        self._given += given
        return given
