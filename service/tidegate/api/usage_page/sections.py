"""The sections of the page."""

from collections.abc import Callable, Sequence
from typing import Final

from tidegate.api.usage_page.charts import Step, bar, time_chart
from tidegate.api.usage_page.formats import as_cost, as_count, as_day, as_share, as_time
from tidegate.api.usage_page.markup import Content, Html, tag
from tidegate.api.usage_page.tables import Table
from tidegate.api.usage_page.view import View, sum_by
from tidegate.core.domain.budget import BudgetUnit
from tidegate.core.domain.cause import Cause
from tidegate.core.ports.usage_sink import UsageGroup

__all__ = ["budgets", "by_whom", "over_time", "pauses", "refusals", "sessions", "totals", "waits"]

_DAY_SECONDS: Final = 86_400
_MAX_BARS: Final = 100
_WEEK: Final = 7
_MAX_ROWS: Final = 20
_SOON: Final = 3
"""Buckets of waits up to 10 s."""
_WAITS: Final = (
    "at most 0.1 s",
    "up to 1 s",
    "up to 10 s",
    "up to a minute",
    "up to 10 minutes",
    "over 10 minutes",
)
_CAUSES: Final = {
    Cause.QUEUE_FULL: "the queue was full",
    Cause.DEADLINE: "the wait would have been too long",
    Cause.CALLER_LIMIT: "over the caller's own limit",
    Cause.BUDGET: "over budget",
    Cause.COST_EXCEEDS_CAPACITY: "larger than the limit allows",
    Cause.SPEND_CAP: "the spend cap at Anthropic was reached",
    Cause.PAUSED: "paused by an admin",
    Cause.UPSTREAM_CREDENTIALS: "the key at Anthropic was refused",
    Cause.UPSTREAM_OUTAGE: "an outage at Anthropic",
    Cause.DRAINING: "Tidegate was restarting",
    Cause.STORE_UNAVAILABLE: "the shared store was unavailable",
    Cause.LEDGER_UNAVAILABLE: "the ledger was unavailable",
    Cause.LOOP: "the call led back to Tidegate",
    Cause.UNAUTHENTICATED: "no valid key",
    Cause.FORBIDDEN: "not allowed for the key",
}


def totals(view: View) -> Html:
    """The sums of everything."""
    total = view.overview.total
    all_input = total.input_tokens + total.cache_read_tokens + total.cache_creation_tokens
    waited = sum(total.waits)
    figures = (
        ("Cost", as_cost(total.cost_micro_usd), "at list prices"),
        ("Calls", as_count(total.calls), f"{as_count(total.failed)} failed"),
        ("Refused", as_count(total.refused), f"{as_share(total.refused, total.calls)} of calls"),
        ("Input tokens", as_count(all_input), "with cached ones"),
        ("Output tokens", as_count(total.output_tokens), None),
        ("Read from cache", as_share(total.cache_read_tokens, all_input), "of input tokens"),
        ("No long wait", as_share(sum(total.waits[:_SOON]), waited), "waited 10 s at most"),
    )
    cards = [
        tag("div", tag("dt", name), tag("dd", value), tag("dd", note) if note else None)
        for name, value, note in figures
    ]
    return _section("totals", "Totals", tag("dl", cards, class_="totals"))


def pauses(view: View) -> Html | None:
    """The present pauses; None if nothing is."""
    if not view.pauses:
        return None
    lines = [
        tag(
            "li",
            f"{each.kind} ",
            tag("strong", each.name),
            f" since {as_time(each.at)} UTC by {each.by}",
            f": {each.reason}" if each.reason else "",
        )
        for each in view.pauses
    ]
    return _section("paused", "Paused now", tag("ul", lines), class_="notice")


def budgets(view: View) -> Html | None:
    """The budgets with their rest; None if there are none."""
    if not view.budgets:
        return None
    rows = []
    for each in view.budgets[:_MAX_ROWS]:
        shown = as_cost if each.rule.unit is BudgetUnit.USD else as_count
        used = max(0, each.spent + each.reserved)
        rows.append(
            (
                [each.rule.name, f": {each.subject}" if each.subject else None],
                bar(used / each.rule.limit),
                shown(max(0, each.remaining)),
                shown(each.rule.limit),
                as_share(used, each.rule.limit),
                "never" if each.ends is None else as_time(each.ends),
            )
        )
    more = f", the {_MAX_ROWS} with the least left of {len(view.budgets)}" if len(view.budgets) > _MAX_ROWS else ""
    head = ("Budget", "", "Left", "Of", "Used", "Begins anew (UTC)")
    return _section("budgets", "Budgets", Table("budgets-table", f"What is left now{more}", head, rows).html())


def over_time(view: View) -> Html:
    """Cost and calls by the hour, day or week."""
    seconds, sums = _steps(view)
    unit = {3_600: "hour", _DAY_SECONDS: "day"}.get(seconds, "week")
    as_step: Callable[[int], str] = as_time if unit == "hour" else as_day
    begin, end = as_step(sums[0][0]), as_step(sums[-1][0])
    charts = [
        time_chart(
            f"{name} per {unit}",
            [Step(value(each), f"{as_step(at)}: {shown(value(each))}") for at, each in sums],
            shown(max(value(each) for _, each in sums)),
            begin,
            end,
        )
        for name, value, shown in (
            ("Cost", _cost, as_cost),
            ("Calls", _calls, as_count),
        )
    ]
    rows = [
        (
            as_step(at),
            as_cost(_cost(each)),
            as_count(_calls(each)),
            as_count(sum(group.refused for group in each)),
            as_count(sum(group.output_tokens for group in each)),
        )
        for at, each in reversed(sums)
        if each
    ]
    table = Table("times", f"Per {unit}", (unit.title(), "Cost", "Calls", "Refused", "Output tokens"), rows)
    return _section("time", "Over time", charts, tag("details", tag("summary", "Figures"), table.html()))


def by_whom(view: View) -> Html:
    """Tables by team, caller and model."""
    return _section("names", "Where it went", [_by(view, name) for name in ("team", "caller", "model")])


def _by(view: View, name: str) -> Html:
    sums = sum_by(name, view.overview.groups)
    total = view.overview.total
    in_cost = total.cost_micro_usd > 0
    rows: list[tuple[Content, ...]] = []
    for each, counted in sums[:_MAX_ROWS]:
        part = (counted.cost_micro_usd, total.cost_micro_usd) if in_cost else (counted.calls, total.calls)
        link = tag("a", each, href=view.asked.address(**{name: each})) if each else "none"
        rows.append(
            (
                link,
                bar(part[0] / part[1] if part[1] else 0),
                as_cost(counted.cost_micro_usd),
                as_share(*part),
                as_count(counted.calls),
                as_count(counted.refused),
                as_count(counted.all_input_tokens),
                as_share(counted.cache_read_tokens, counted.all_input_tokens),
                as_count(counted.output_tokens),
            )
        )
    more = f", the {_MAX_ROWS} most expensive of {len(sums)}" if len(sums) > _MAX_ROWS else ""
    head = (name.title(), "", "Cost", "Share", "Calls", "Refused", "Input", "Cached", "Output")
    return Table(f"by-{name}", f"By {name}{more}", head, rows).html()


def waits(view: View) -> Html | None:
    """Calls by their wait for quota; None if none asked for any."""
    counts = view.overview.total.waits
    whole = sum(counts)
    if not whole:
        return None
    rows = [
        (name, bar(count / whole), as_share(count, whole), as_count(count))
        for name, count in zip(_WAITS, counts, strict=True)
    ]
    table = Table("waits-table", "Calls by their wait for quota", ("Wait", "", "Share", "Calls"), rows)
    return _section("waits", "Waits", table.html())


def refusals(view: View) -> Html | None:
    """Refused calls by cause; None if there are none."""
    causes = view.overview.total.refusals
    whole = sum(causes.values())
    if not whole:
        return None
    rows = [
        (_meaning(cause), bar(calls / whole), as_share(calls, whole), as_count(calls))
        for cause, calls in sorted(causes.items(), key=lambda each: (-each[1], each[0]))
    ]
    table = Table("causes", "Calls that Tidegate refused, by cause", ("Cause", "", "Share", "Calls"), rows)
    return _section("refused", "Refusals", table.html())


def sessions(view: View) -> Html | None:
    """The most expensive sessions; None if no client names any."""
    if not view.sessions:
        return None
    rows = [
        (
            tag("code", each.session),
            each.caller,
            as_time(each.last_at),
            as_count(each.answers),
            as_count(each.output_tokens),
            as_cost(each.cost_micro_usd),
        )
        for each in view.sessions
    ]
    head = ("Session", "Caller", "Last used (UTC)", "Answers", "Output", "Cost")
    caption = "The most expensive of the last 30 days"
    return _section("sessions", "Sessions", Table("sessions-table", caption, head, rows).html())


def _meaning(cause: str) -> str:
    return _CAUSES[Cause(cause)] if cause in set(Cause) else cause


def _steps(view: View) -> tuple[int, list[tuple[int, list[UsageGroup]]]]:
    """The length of a bar in seconds, and the groups in each, also in those without any.

    Years before the first usage have no bars: in a period of centuries they would take seconds.
    """
    length = view.overview.step_seconds
    first, last = view.since // length * length, (view.until - 1) // length * length
    groups = [(_moment(group), group) for group in view.overview.times]
    seconds = length
    if _number(first, last, seconds) > _MAX_BARS:
        seconds *= _WEEK
    if _number(first, last, seconds) > _MAX_BARS:
        first = min((at for at, _ in groups), default=last)
    by_step: dict[int, list[UsageGroup]] = {at: [] for at in range(first, last + 1, seconds)}
    for at, group in groups:
        by_step.setdefault(first + (at - first) // seconds * seconds, []).append(group)
    return seconds, sorted(by_step.items())


def _cost(groups: Sequence[UsageGroup]) -> int:
    return sum(group.cost_micro_usd for group in groups)


def _calls(groups: Sequence[UsageGroup]) -> int:
    return sum(group.calls for group in groups)


def _moment(group: UsageGroup) -> int:
    """The beginning of the hour or day of a group."""
    (at,) = (value for value in group.group.values() if isinstance(value, int))
    return at


def _number(first: int, last: int, seconds: int) -> int:
    """The number of bars of this length from the first to the last moment."""
    return (last - first) // seconds + 1


def _section(name: str, title: str, *content: Content, class_: str | None = None) -> Html:
    return tag("section", tag("h2", title, id=name), content, aria_labelledby=name, class_=class_)
