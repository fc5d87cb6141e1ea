"""Bars: of a table, and over time. As SVG, whose attributes no content security policy forbids."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.api.usage_page.markup import Html, tag

__all__ = ["Step", "bar", "time_chart"]

_GAP = 0.15
"""The part of a step between two bars."""
_WIDE = 1_000


def bar(share: float) -> Html:
    """A bar for a share from 0 to 1. It only repeats a number that stands beside it."""
    width = round(100 * min(1.0, max(0.0, share)), 2)
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=100, height=10, class_="track"),
        tag("rect", x=0, y=0, width=width, height=10, class_="fill"),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
        class_="bar",
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a chart: its value, and the text that is shown for it."""

    value: float
    text: str


def time_chart(title: str, steps: Sequence[Step], highest: str, begin: str, end: str) -> Html:
    """Bars over time.

    Args:
        title: the heading, also for those who cannot see the bars.
        steps: the bars, the earliest first.
        highest: the highest value as text.
        begin: the first moment as text.
        end: the last one.
    """
    most = max((step.value for step in steps), default=0) or 1
    width = _WIDE / max(1, len(steps))
    bars = [
        tag(
            "rect",
            tag("title", step.text),
            x=round(width * (number + _GAP / 2), 2),
            y=round(100 - 100 * step.value / most, 2),
            width=round(width * (1 - _GAP), 2),
            height=round(100 * step.value / most, 2),
            class_="fill",
        )
        for number, step in enumerate(steps)
        if step.value
    ]
    lines = [tag("line", x1=0, x2=_WIDE, y1=y, y2=y, class_="grid") for y in (0, 50, 100)]
    return tag(
        "figure",
        tag("figcaption", title),
        tag("div", tag("span", highest), tag("span", "0"), class_="scale", aria_hidden="true"),
        tag(
            "svg",
            lines,
            bars,
            viewBox=f"0 0 {_WIDE} 100",
            preserveAspectRatio="none",
            role="img",
            aria_label=f"{title}: at most {highest}, from {begin} to {end}. The figures are in the table below.",
            class_="chart",
        ),
        tag("div", tag("span", begin), tag("span", end), class_="times", aria_hidden="true"),
        class_="over-time",
    )
