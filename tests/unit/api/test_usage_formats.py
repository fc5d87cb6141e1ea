"""Numbers as the page of usage writes them, and its markup."""

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from tidegate.api.usage_page.charts import bar
from tidegate.api.usage_page.formats import as_cost, as_count, as_share
from tidegate.api.usage_page.markup import Html, tag


@pytest.mark.parametrize(
    ("micro_usd", "text"),
    [
        (0, "$0.00"),
        (1, "< $0.0001"),
        (50, "$0.0001"),
        (4_200, "$0.0042"),
        (999_999, "$1.0000"),
        (1_234_567_890, "$1,234.57"),
    ],
)
def test_a_cost_is_in_cents_from_a_dollar_on(micro_usd: int, text: str) -> None:
    assert as_cost(micro_usd) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0 k"),
        (1_204_000, "1.2 M"),
        (5 * 10**9, "5.0 G"),
        (10**13, "10,000.0 G"),
    ],
)
def test_a_long_number_is_in_thousands_millions_or_billions(number: int, text: str) -> None:
    assert as_count(number) == text


@given(integers(0, 10**15))
def test_a_count_is_never_long(number: int) -> None:
    assert len(as_count(number)) <= 13


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "0 %"), (1, 1_000, "< 1 %"), (1, 3, "33 %"), (5, 5, "100 %")]
)
def test_a_share_is_in_percent_and_a_small_one_does_not_look_like_none(part: int, whole: int, text: str) -> None:
    assert as_share(part, whole) == text


@given(floats(-1, 2))
def test_a_bar_stays_within_its_track(share: float) -> None:
    width = float(bar(share).split('class="track"')[1].split('width="')[1].split('"')[0])
    assert 0 <= width <= 100


def test_text_is_escaped_and_markup_is_not() -> None:
    made = tag("p", "<b>", [tag("i", 1), None], Html("&amp;"), class_="a&b", hidden=True, title=None, aria_label="x")
    assert made == '<p class="a&amp;b" hidden aria-label="x">&lt;b&gt;<i>1</i>&amp;</p>'
    assert tag("input", name="q", checked=False) == '<input name="q">'
