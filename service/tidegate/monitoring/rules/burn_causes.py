"""The biggest cause of a burning error budget, in words, for the text of its alert."""

from collections.abc import Iterable
from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.observe.metrics import catalogue

__all__ = ["CAUSES", "LIMIT_FELL", "cause_in_words"]

_ATTEMPTS: Final = catalogue.UPSTREAM_ATTEMPTS.name
_REFUSED: Final = catalogue.REFUSED.name
_SINCE: Final = "[%(window)s]"
_OF_UPSTREAM: Final = (
    ("Claude is overloaded (529)", _ATTEMPTS, 'status="529"'),
    ("Claude fails (5xx)", _ATTEMPTS, 'status=~"50.|5xx"'),
    ("Claude cannot be reached, or breaks off responses", _ATTEMPTS, 'status="error"'),
)
_OF_FAILURES: Final = (
    *_OF_UPSTREAM,
    ("Claude rejects the key of the service (401 or 403)", _ATTEMPTS, 'status=~"401|403"'),
    ("Claude does not respond in time", _ATTEMPTS, 'status="deadline"'),
    ("the shared store is lost", _REFUSED, f'cause="{Cause.STORE_UNAVAILABLE}"'),
    ("the ledger cannot be written", _REFUSED, f'cause="{Cause.LEDGER_UNAVAILABLE}"'),
)
_OF_WAITS: Final = (
    *_OF_UPSTREAM,
    ("Claude answers 429", _ATTEMPTS, 'status="429"'),
)
CAUSES: Final = {
    "availability": (_OF_FAILURES, "responses break off"),
    "latency": (_OF_WAITS, "more is asked for than the quota allows"),
}
"""The causes of each objective, and what is left if none has an event.

A cause is a text, the name of a counter, and matchers of its labels.
"""
LIMIT_FELL: Final = "a limit of Claude fell"
"""Explains waits before all other causes, while the alert on it fires."""
_LIMIT_FELL: Final = 'ALERTS{alertname="TidegateLimitFell",alertstate="firing",job=%[1]q,pool=%[2]q}'


def cause_in_words(objective: str, window: str) -> str:
    """A template that names the cause with most events in the window, of the pool of the alert.

    Without any event it names what is left. A limit that fell explains waits before all other causes.
    """
    causes, otherwise = CAUSES[objective]
    found = [
        _words(f"sum(increase({name}{{job=%[1]q,pool=%[2]q,{which}}}[{window}]))", text) for text, name, which in causes
    ]
    if objective == "latency":
        found.insert(0, _words(f"1e9 * count({_LIMIT_FELL})", LIMIT_FELL))
    query = f"topk(1, {_any(found)} > 0 or {_words('vector(0)', otherwise)})".replace('"', '\\"')
    return (
        f'{{{{ with printf "{query}" $labels.job $labels.pool | query }}}}{{{{ with first . }}}}'
        " Biggest cause: {{ .Labels.cause }}.{{ end }}{{ end }}"
    )


def _words(value: str, text: str) -> str:
    return f'label_replace({value}, "cause", "{text}", "", "")'


def _any(values: Iterable[str]) -> str:
    return f"({' or '.join(values)})"
