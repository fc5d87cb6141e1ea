"""What a call will probably cost, before it is sent."""

from typing import Final

from tidegate.core.dimension import Cost

__all__ = ["estimate_messages_cost"]

_BYTES_PER_TOKEN: Final = 4
"""First guess for English text inside JSON. Tokenizers differ by model (Opus 4.7 and later give about 30 % more tokens
than earlier models), so the settlement corrects every estimate by the usage that the answer reports."""

_USUAL_OUTPUT_TOKENS: Final = 500
"""What an answer usually takes: `max_tokens` is only its upper bound, and is not what the upstream counts (Claude
Platform Docs, "Rate limits", read 2026-10-08)."""


def estimate_messages_cost(body_bytes: int, max_tokens: int | None) -> Cost:
    """The cost to reserve for a Messages call: one request, input by size, output as usual but at most `max_tokens`."""
    input_tokens = -(-body_bytes // _BYTES_PER_TOKEN)
    output_tokens = _USUAL_OUTPUT_TOKENS if max_tokens is None else min(max_tokens, _USUAL_OUTPUT_TOKENS)
    return Cost(1, input_tokens, output_tokens)
