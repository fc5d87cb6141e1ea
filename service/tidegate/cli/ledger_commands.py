"""`tidegate usage` and `tidegate ledger`: commands that read the database of the ledger directly."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.composition.ledger import ledger_database
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import MOMENT_TEXT
from tidegate.core.ports.usage_sink import UsageGroup, UsageQuery, UsageReport
from tidegate.core.pricing.price_list import MICRO_USD
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from tidegate.ledger.database import Database

__all__ = ["ledger", "usage"]

_SESSIONS: Final = 20
_BAR_COLUMNS: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_HEAD: Final = ("cost", "share", "calls", "refused", "input", "output", "cache read", "cached")


@click.command()
@click.option("--by", default="caller", help="One to three of team, caller, model, pool, class, hour and day.")
@click.option("--since", default="7d", help=f"Beginning: {MOMENT_TEXT}.")
@click.option("--until", help="End, in the same forms; default: now.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="Form of output.")
@click.option("--sessions", is_flag=True, help="List the 20 most expensive sessions, instead of groups.")
def usage(by: str, since: str, until: str | None, form: str, *, sessions: bool) -> None:
    """Print who used how much, from the database of the ledger.

    The command reads the database that its own configuration names: TIDEGATE_DATABASE_URL, or `ledger.sqlite` in
    TIDEGATE_STATE_DIR. Usage of the last second may be missing.
    """
    from tidegate.api.routes.usage_format import as_csv, as_json, usage_query  # noqa: PLC0415 - for this command only

    query = usage_query(by, since, until, time.time(), prefix="--")
    database = ledger_database(load_settings().settings)
    if sessions:
        _print_sessions(database, query, form)
        return
    from tidegate.ledger.usage.report import report  # noqa: PLC0415 - SQLAlchemy is an extra

    found = report(database, query)
    if form == "json":
        click.echo(json.dumps(as_json(query, found), indent=2, ensure_ascii=False))
    elif form == "csv":
        click.echo(as_csv(query, found), nl=False)
    else:
        click.echo("\n".join(_table(query, found)))


def _print_sessions(database: "Database", query: UsageQuery, form: str) -> None:
    """Prints the most expensive sessions as a table, or as JSON."""
    from tidegate.api.routes.usage_format import shown_session  # noqa: PLC0415 - for this command only
    from tidegate.ledger.usage.sessions import expensive_sessions  # noqa: PLC0415 - SQLAlchemy is an extra

    if form == "csv":
        raise ConfigurationError("--format", form, "table or json, with --sessions")
    found = [shown_session(each) for each in expensive_sessions(database, query, _SESSIONS)]
    if form == "json":
        click.echo(json.dumps({"sessions": found}, indent=2, ensure_ascii=False))
    for each in found if form == "table" else ():
        click.echo(f"{_cost(each['cost_usd']):>12}  {each['last_at']}  {each['caller']}  {each['session']}")


@click.group()
def ledger() -> None:
    """The database of usage and keys."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the SQLite database of the ledger into FILE, also while the service runs.

    Back up PostgreSQL with pg_dump.
    """
    database = ledger_database(load_settings().settings)
    if database.is_postgresql:
        raise ConfigurationError("TIDEGATE_DATABASE_URL", "PostgreSQL", "unset for this command; use pg_dump instead")
    if file.exists():
        raise ConfigurationError("FILE", str(file), "the path of a file that does not exist yet")
    database.backup(file)
    click.echo(file)


def _table(query: UsageQuery, report: UsageReport) -> list[str]:
    """Lines of a table: the groups with a bar for their share of the cost, or of the calls if nothing cost anything."""
    from tidegate.api.routes.usage_format import shown_group  # noqa: PLC0415 - for this command only

    if not report.groups:
        return ["no usage in this time"]
    total = report.total
    whole = total.cost_micro_usd or total.calls or 1
    rows = [
        (" ".join(shown_group(group).values()) or "-", group, _weight(group, total) / whole) for group in report.groups
    ]
    rows.append(("total", total, _weight(total, total) / whole))
    cells = [(name, _bar(share), *_figures(group, share)) for name, group, share in rows]
    head = (",".join(query.by), "", *_HEAD)
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    return [_aligned(line, widths) for line in (head, *cells)]


def _weight(group: UsageGroup, total: UsageGroup) -> int:
    return group.cost_micro_usd if total.cost_micro_usd else group.calls


def _figures(group: UsageGroup, share: float) -> tuple[str, ...]:
    counts = (group.calls, group.refused, group.input_tokens, group.output_tokens, group.cache_read_tokens)
    dollars = group.cost_micro_usd / MICRO_USD
    return (_cost(dollars), f"{share:.0%}", *(f"{count:,}" for count in counts), f"{group.cache_share:.0%}")


def _cost(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"


def _bar(share: float) -> str:
    eighths = round(share * _BAR_COLUMNS * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(_BAR_COLUMNS)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    name, bar, *figures = line
    columns = [name.ljust(widths[0]), bar.ljust(widths[1])]
    columns += [figure.rjust(width) for figure, width in zip(figures, widths[2:], strict=True)]
    return "  ".join(columns).rstrip()
