"""The size of a prompt, by kinds of content with different token rules: text, images, documents, tools.

An image is scaled down to the model's maximum, and then cut into squares of 28 pixels of one token each. A page of a
PDF counts as an image and as its text. Tools add a system prompt. Sources: Claude Platform Docs, "Images
and vision", "PDF support" and "Tool use with Claude", as copied in 2026 (July to October).
"""

import re
from bisect import bisect_right
from math import ceil
from typing import Final, NamedTuple, Self

from tidegate.core.claude.rate_limit_groups import undated

__all__ = ["PromptSize", "image_size", "most_image_tokens", "tool_prompt_tokens"]

_PATCH_PIXELS: Final = 28
_SMALLER_IMAGES: Final = re.compile(r"claude-(?:\d.*|(?:opus|sonnet|haiku)-4(?:-[0-6])?)")
"""Models before Claude 4.7."""
_MOST_EDGE_PIXELS: Final = (1_568, 2_576)
_MOST_IMAGE_TOKENS: Final = (1_568, 4_784)
"""For models before Claude 4.7, and for all others."""
_TOOL_PROMPT_TOKENS: Final = {
    "claude-opus-4-5": (496, 588),
    "claude-sonnet-4-5": (496, 588),
    "claude-haiku-4-5": (496, 588),
    "claude-opus-4-6": (497, 589),
    "claude-sonnet-4-6": (497, 589),
    "claude-opus-4-7": (675, 804),
    "claude-sonnet-5": (354, 474),
    "claude-opus-5": (286, 406),
}
_LATER_TOOL_PROMPT_TOKENS: Final = (290, 410)
"""For Opus 4.8. Figures of later models are not published, and the last three differ little."""


class PromptSize(NamedTuple):
    """The size of a prompt, or of a part of it. No amount is negative.

    Attributes:
        text_bytes: bytes of the body, without the following.
        image_tokens: tokens of images whose size is known.
        unsized_images: number of images behind a URL or file id.
        pages: number of pages of PDFs in the body.
        documents: number of documents behind a URL or file id.
        fixed_tokens: tokens that the upstream adds.
    """

    text_bytes: int = 0
    image_tokens: int = 0
    unsized_images: int = 0
    pages: int = 0
    documents: int = 0
    fixed_tokens: int = 0

    def plus(self, other: Self) -> "PromptSize":
        """The sum of both."""
        return PromptSize(*map(int.__add__, self, other))

    def minus(self, other: Self) -> "PromptSize":
        """The size without the other, at least 0 in each amount."""
        return PromptSize(*[max(0, left) for left in map(int.__sub__, self, other)])


def most_image_tokens(model: str) -> int:
    """The most tokens that an image can have."""
    return _MOST_IMAGE_TOKENS[_tier(model)]


def image_size(model: str, width: int, height: int) -> PromptSize:
    """The size of an image. Width and height are pixels, above 0."""
    tier = _tier(model)
    longer, shorter = max(width, height), min(width, height)
    edges = range(min(longer, _MOST_EDGE_PIXELS[tier]) + 1)

    def tokens(edge: int) -> int:
        """Tokens of the image when its longer edge is scaled to `edge` pixels."""
        return ceil(edge / _PATCH_PIXELS) * max(1, ceil(round(edge * shorter / longer) / _PATCH_PIXELS))

    return PromptSize(image_tokens=tokens(bisect_right(edges, _MOST_IMAGE_TOKENS[tier], key=tokens) - 1))


def tool_prompt_tokens(model: str, *, forced: bool) -> int:
    """Tokens of the system prompt for tools. `forced`: the model must call one (`tool_choice` is `any` or `tool`)."""
    return _TOOL_PROMPT_TOKENS.get(undated(model), _LATER_TOOL_PROMPT_TOKENS)[forced]


def _tier(model: str) -> bool:
    """The tier of a model, as an index: False for models before Claude 4.7, True for others."""
    return _SMALLER_IMAGES.fullmatch(undated(model)) is None
