"""The cost of images and tools by the documented rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.pricing.prompt_size import PromptSize, image_size, most_image_tokens, tool_prompt_tokens

EARLIER, LATER = "claude-sonnet-4-6", "claude-sonnet-5-5"
PIXELS = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "earlier", "later"),
    [
        (200, 200, 64, 64),
        (1_000, 1_000, 1_296, 1_296),
        (1_092, 1_092, 1_521, 1_521),
        (1_920, 1_080, 1_560, 2_691),
        (3_840, 2_160, 1_560, 4_784),
        (1_075, 1_520, 1_551, 2_145),
        (1, 1, 1, 1),
        (8_000, 1, 56, 92),
        (1, 8_000, 56, 92),
    ],
)
def test_examples_of_the_documentation(width: int, height: int, earlier: int, later: int) -> None:
    assert image_size(EARLIER, width, height) == PromptSize(image_tokens=earlier)
    assert image_size(LATER, width, height) == PromptSize(image_tokens=later)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-5-haiku-latest", 1_568),
        ("claude-opus-4-20250514", 1_568),
        ("claude-opus-4-1-20250805", 1_568),
        ("claude-haiku-4-5-20251001", 1_568),
        ("claude-opus-4-6", 1_568),
        ("claude-opus-4-7", 4_784),
        ("claude-fable-5-1", 4_784),
        ("something-else", 4_784),
    ],
)
def test_models_since_claude_4_7_take_larger_images(model: str, tokens: int) -> None:
    assert most_image_tokens(model) == tokens


@given(PIXELS, PIXELS, st.sampled_from([EARLIER, LATER]))
def test_no_image_costs_nothing_or_more_than_the_most(width: int, height: int, model: str) -> None:
    assert 1 <= image_size(model, width, height).image_tokens <= most_image_tokens(model)


@given(PIXELS, PIXELS, st.sampled_from([EARLIER, LATER]))
def test_an_image_is_scaled_down_no_further_than_it_must_be(width: int, height: int, model: str) -> None:
    """Double the edge has at most four times the patches, rounded up: what fits is not far below the most."""
    tokens = image_size(model, width, height).image_tokens
    whole = -(-width // 28) * -(-height // 28)
    longest = 2_576 if model == LATER else 1_568
    if max(width, height) <= longest:
        assert tokens == whole or tokens > 0.9 * most_image_tokens(model)


@pytest.mark.parametrize(
    ("model", "free", "forced"),
    [
        ("claude-opus-4-5-20251101", 496, 588),
        ("claude-haiku-4-5", 496, 588),
        ("claude-sonnet-4-6", 497, 589),
        ("claude-opus-4-7", 675, 804),
        ("claude-opus-4-8", 290, 410),
        ("claude-sonnet-5", 354, 474),
        ("claude-opus-5", 286, 406),
        ("claude-opus-5-5", 290, 410),
    ],
)
def test_tools_bring_a_system_prompt(model: str, free: int, forced: int) -> None:
    assert (tool_prompt_tokens(model, forced=False), tool_prompt_tokens(model, forced=True)) == (free, forced)


def test_sizes_add_up_and_never_fall_below_nothing() -> None:
    whole = PromptSize(100, 20, 1, 2, 3, 290)
    part = PromptSize(40, 20, 1, 0, 1, 290)
    assert whole.minus(part) == PromptSize(60, 0, 0, 2, 2, 0)
    assert whole.minus(part).plus(part) == whole
    assert part.minus(whole) == PromptSize()
