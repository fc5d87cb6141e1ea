"""Content negotiation by `Accept` (RFC 9110, section 12.5.1)."""

import re
from typing import Final

__all__ = ["prefers"]

_WEIGHT: Final = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")


def prefers(accept: str, media_type: str, default: str) -> bool:
    """Whether an `Accept` header prefers a media type to the default one.

    If two types have the same weight, it prefers the one that it names more specifically. An invalid weight counts as
    1.
    """
    ours, theirs = _rank(accept, media_type), _rank(accept, default)
    return ours[0] > 0 and ours > theirs


def _rank(accept: str, media_type: str) -> tuple[float, int]:
    """The weight of a media type in its most specific range, and how specific the range is."""
    specificity = {"*/*": 1, f"{media_type.partition('/')[0]}/*": 2, media_type: 3}
    best = (0, 0.0)
    for entry in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        specific = specificity.get(media_range, 0)
        if specific > best[0]:
            weights = [text.removeprefix("q=") for text in parameters if text.startswith("q=")]
            best = specific, float(weights[0]) if weights and _WEIGHT.fullmatch(weights[0]) else 1.0
    return best[1], best[0]
