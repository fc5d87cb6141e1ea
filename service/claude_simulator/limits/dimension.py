"""What the API limits."""

from enum import StrEnum


class Dimension(StrEnum):
    """What is limited per minute. The value is the name in rate-limit headers."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input-tokens"
    OUTPUT_TOKENS = "output-tokens"
