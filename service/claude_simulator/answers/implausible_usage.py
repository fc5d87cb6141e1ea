"""Usage figures that no model can have."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["claim_impossible_tokens"]

_IMPOSSIBLE_TOKENS: Final = 10**12


def claim_impossible_tokens(message: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a message, or of the event that ends one, with more output than any model can produce."""
    return {**message, "usage": {**message["usage"], "output_tokens": _IMPOSSIBLE_TOKENS}}
