"""Puts the page together."""

from collections.abc import Sequence
from typing import Final

from tidegate.api.usage_page import sections
from tidegate.api.usage_page.formats import ZONE, as_count, as_time
from tidegate.api.usage_page.markup import Content, Html, tag
from tidegate.api.usage_page.view import FILTERS, PERIODS, Asked, View

__all__ = ["STYLE_PATH", "message_page", "usage_page"]

STYLE_PATH: Final = "usage/style.css"
"""Relative to the page, so that it works behind a proxy with a path of its own."""
_TITLE: Final = "Usage"


def usage_page(view: View) -> str:
    """The page with its figures."""
    whose = "all callers" if view.only_caller is None else f"caller {view.only_caller}"
    period = f"{as_time(view.since)} – {as_time(view.until)} {ZONE}"
    head = tag("p", f"Tidegate, {whose}: {period}", class_="quiet")
    return _document(
        tag("header", tag("h1", _TITLE), head, tag("div", _periods(view), _filters(view), class_="choices")),
        tag("main", _sections(view)),
        _footer(view),
    )


def message_page(title: str, text: str) -> str:
    """A page that says why there are no figures."""
    return _document(tag("header", tag("h1", _TITLE)), tag("main", tag("section", tag("h2", title), tag("p", text))))


def _sections(view: View) -> Sequence[Content]:
    now = sections.pauses(view), sections.budgets(view)
    if view.overview.total.calls == 0 and not view.overview.groups:
        empty = "No calls in this period"
        hint = "with this team, caller and model." if view.asked.is_filtered else "have reached Tidegate so far."
        return now, tag("section", tag("h2", empty), tag("p", f"None {hint} Choose another period above."))
    parts = (
        sections.totals,
        sections.over_time,
        sections.by_whom,
        sections.waits,
        sections.refusals,
        sections.sessions,
    )
    return now, [part(view) for part in parts]


def _periods(view: View) -> Html:
    links = [
        tag(
            "li",
            tag(
                "a",
                text,
                href=view.asked.address(since=period),
                aria_current="page" if period == view.asked.period else None,
            ),
        )
        for period, text in PERIODS.items()
    ]
    return tag("nav", tag("ul", links), aria_label="Period")


def _filters(view: View) -> Html:
    fields = [
        tag(
            "label",
            name.title(),
            tag(
                "select",
                tag("option", f"all {name}s", value=""),
                [
                    tag("option", each, value=each, selected=each == getattr(view.asked, name))
                    for each in view.choices[name]
                ],
                name=name,
            ),
        )
        for name in FILTERS
    ]
    clear = tag("a", "Show all", href=Asked(view.asked.period).address()) if view.asked.is_filtered else None
    period = tag("input", type="hidden", name="since", value=view.asked.period)
    return tag("form", period, fields, tag("button", "Show", type="submit"), clear, method="get")


def _footer(view: View) -> Html:
    unpriced = view.overview.total.unpriced_tokens
    report = f"api/system/usage{Asked(view.asked.period).address()}&by=caller"
    return tag(
        "footer",
        tag("p", f"All times are in {ZONE}. Usage of the last second may be missing."),
        tag("p", f"{as_count(unpriced)} tokens of models without a known price are not in the cost.")
        if unpriced
        else None,
        [tag("p", f"Prices: {source}, read on {read_on.isoformat()}.") for source, read_on in view.prices],
        tag("p", "Figures: ", tag("a", "JSON", href=report), ", ", tag("a", "CSV", href=f"{report}&format=csv"), "."),
    )


def _document(*body: Content) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{_TITLE} - Tidegate"),
        tag("link", rel="stylesheet", href=STYLE_PATH),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"
