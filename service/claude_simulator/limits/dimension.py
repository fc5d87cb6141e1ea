"""The limited dimensions of the API."""

from enum import StrEnum


class Dimension(StrEnum):
    """A dimension that is limited per minute. The value is the name in rate-limit headers."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input-tokens"
    OUTPUT_TOKENS = "output-tokens"
