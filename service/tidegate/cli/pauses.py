"""`tidegate pause`, `resume`, `paused` and `audit`: stop calls, let them go on, and show who did what."""

import json
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.composition.ledger import command_line_user, ledger_database
from tidegate.core.domain.pause import PauseKind
from tidegate.core.domain.time_span import MOMENT_TEXT, moment
from tidegate.core.ports.audit import AuditEntry, Values
from tidegate.identity.sessions import plain_id
from tidegate.settings import load_settings
from tidegate.settings.known_names import is_configured

if TYPE_CHECKING:
    from tidegate.ledger.access.pauses import LedgerPauses

__all__ = ["audit", "pause", "paused", "resume"]

_KIND: Final = click.Choice([kind.value for kind in PauseKind])
_EVERYTHING: Final = 1_000_000


@click.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
@click.option("--reason", default="", help="Shown to the callers that are refused.")
def pause(kind: str, name: str, reason: str) -> None:
    """Refuse all calls of a caller, key, team, session or pool, until they are resumed.

    A running service knows it within a second. Calls that wait for quota are refused as well; responses that have begun
    go on to their end. A key has its id as NAME, a session the id that its client sends.
    """
    made = _pauses().pause(PauseKind(kind), _name(kind, name), reason=reason.strip(), by=command_line_user())
    click.echo(f"paused {made.kind} {made.name}")


@click.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
def resume(kind: str, name: str) -> None:
    """End a pause."""
    ended = _pauses().resume(PauseKind(kind), _name(kind, name), by=command_line_user())
    click.echo(f"resumed {ended.kind} {ended.name}, paused since {_time(ended.at)} by {ended.by}")


@click.command()
def paused() -> None:
    """List what is paused, the newest first."""
    found = _pauses().all_pauses()
    for each in found:
        why = f": {each.reason}" if each.reason else ""
        click.echo(f"{each.kind} {each.name}  since {_time(each.at)} by {each.by}{why}")
    if not found:
        click.echo("nothing is paused")


@click.command()
@click.option("--since", default="7d", help=f"Beginning: {MOMENT_TEXT}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def audit(since: str, *, as_json: bool) -> None:
    """List what admins have changed: keys, limits, the configuration and pauses, the newest first."""
    now = time.time()
    begin = moment("--since", since, now)
    database = ledger_database(load_settings().settings)
    from tidegate.api.routes.audit import shown_entry  # noqa: PLC0415 - for this command only
    from tidegate.ledger.audit import Audit  # noqa: PLC0415 - SQLAlchemy is an extra

    for each in Audit(database).entries(begin, int(now) + 1, _EVERYTHING):
        click.echo(json.dumps(shown_entry(each), ensure_ascii=False) if as_json else _line(each))


def _pauses() -> "LedgerPauses":
    settings = load_settings().settings
    database = ledger_database(settings)
    from tidegate.ledger.access.pauses import LedgerPauses  # noqa: PLC0415 - SQLAlchemy is an extra

    return LedgerPauses(database, partial(is_configured, settings))


def _name(kind: str, name: str) -> str:
    return plain_id(name.encode(errors="surrogateescape")) if kind == PauseKind.SESSION else name


def _line(entry: AuditEntry) -> str:
    words = (_time(entry.at), entry.who, entry.action, entry.target, _changes(entry.before, entry.after))
    return "  ".join(words).rstrip()


def _changes(before: Values, after: Values) -> str:
    """The values that differ, such as `reason "" → "runs away"`."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(f"{name} {_value(before.get(name))} → {_value(after.get(name))}" for name in names)


def _value(value: object) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
