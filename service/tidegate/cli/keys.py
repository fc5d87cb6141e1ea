"""`tidegate keys`: creates keys for callers, in the ledger or for the configuration file, and ends them."""

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from pydantic import ValidationError

from tidegate.cli.composition.ledger import command_line_user, has_ledger, ledger_database
from tidegate.core.domain.caller import DEFAULT_TEAM, Priority, Role
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import END_TEXT, end_of
from tidegate.core.ports.key_store import KeyInfo, NewCaller
from tidegate.identity.identify import new_key
from tidegate.settings import CallerSettings, load_settings
from tidegate.settings.fields.field_docs import field_docs

if TYPE_CHECKING:
    from tidegate.ledger.access.key_administration import Keys

__all__ = ["keys"]

_OPTIONS: Final = {"name": "NAME", "team": "--team", "weight": "--weight", "models": "--model"}
"""The options whose values are checked, by the field of the configuration file."""
_COLUMNS: Final = ("id", "caller", "team", "role", "state", "created", "expires", "by")


@click.group()
def keys() -> None:
    """Keys of callers.

    They are in the ledger: the database of TIDEGATE_STATE_DIR or TIDEGATE_DATABASE_URL. A running service knows a
    change within a second. Without a ledger, `create` prints a key for the configuration file.
    """


@keys.command()
@click.argument("name")
@click.option("--team", default=DEFAULT_TEAM, help="Team of the caller.")
@click.option(
    "--role", type=click.Choice([each.value for each in Role]), default=Role.CALLER.value, help="What the key allows."
)
@click.option("--weight", type=float, default=1.0, help="Share relative to others.")
@click.option(
    "--priority",
    type=click.Choice([each.value for each in Priority]),
    default=Priority.STANDARD.value,
    help="Class of its calls.",
)
@click.option("--model", "models", multiple=True, help="The only model that it may use; repeatable; default: all.")
@click.option("--expires", help=f"End of the key: {END_TEXT}; default: never.")
@click.option("--toml", is_flag=True, help="Print the lines for tidegate.toml on stdout, and the key on stderr.")
@click.option("--admin", is_flag=True, help="The same as --role admin.")
def create(
    name: str,
    team: str,
    role: str,
    weight: float,
    priority: str,
    models: tuple[str, ...],
    expires: str | None,
    *,
    toml: bool,
    admin: bool,
) -> None:
    """Create the caller NAME, a team or a program, with a random key (256 bits).

    The key is printed once and not stored. The ledger, or the configuration file, holds its SHA-256.
    """
    if admin and role == Role.VIEWER:
        raise ConfigurationError("--role", role, "admin, or not given, with --admin")
    models = _check(name, team, weight, models)
    caller = NewCaller(name, team, Role.ADMIN if admin else Role(role), weight, Priority(priority), models)
    settings = load_settings().settings
    if toml or not has_ledger(settings):
        if expires is not None:
            raise ConfigurationError("--expires", expires, "no end for a key of the configuration file")
        _print_for_file(caller, toml=toml)
        return
    if any(caller.name == name for caller in settings.callers):
        raise ConfigurationError("NAME", name, "a name that no caller of the configuration has")
    expires_at = None if expires is None else end_of("--expires", expires, time.time())
    made = _keys().create(caller, expires_at=expires_at, by=command_line_user())
    click.echo(f"key  {made.key}\nid   {made.id}")
    click.echo(f"tidegate: the ledger holds the hash of the key of {name}; it is shown only now", err=True)


@keys.command("list")
def list_keys() -> None:
    """List all keys of the ledger, without anything secret."""
    now = time.time()
    rows = [_COLUMNS, *(_row(each, now) for each in _keys().all_keys())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("name")
@click.option("--grace", default="7d", help=f"End of the old key: {END_TEXT}.")
def rotate(name: str, grace: str) -> None:
    """Create a second key of the caller NAME. The first one stays valid for the grace."""
    now = time.time()
    made = _keys().rotate(name, grace_seconds=end_of("--grace", grace, now) - int(now), by=command_line_user())
    click.echo(f"key  {made.key}\nid   {made.id}")
    click.echo(f"tidegate: the old key {made.old_key} is valid until {_time(made.old_valid_until)}", err=True)


@keys.command()
@click.argument("key")
def revoke(key: str) -> None:
    """End a key by its id, or all keys of a caller by its name, at once."""
    for each in _keys().revoke(key, by=command_line_user()):
        click.echo(f"revoked {each.id} of {each.caller}")


@keys.command()
@click.argument("key")
@click.option("--at", required=True, help=f"End of the key: {END_TEXT}.")
def expire(key: str, at: str) -> None:
    """Let the key with this id end at a moment."""
    changed = _keys().expire(key, end_of("--at", at, time.time()), by=command_line_user())
    click.echo(f"{changed.id} of {changed.caller} expires at {_time(changed.expires_at)}")


def _keys() -> "Keys":
    database = ledger_database(load_settings().settings)
    from tidegate.ledger.access.key_administration import Keys  # noqa: PLC0415 - SQLAlchemy is an extra

    return Keys(database, new_key)


def _check(name: str, team: str, weight: float, models: tuple[str, ...]) -> tuple[str, ...]:
    """Allows what the configuration file would allow. Returns the models as they are read there."""
    values: dict[str, object] = {"name": name, "team": team, "weight": weight, "models": models}
    try:
        checked = CallerSettings.model_validate({"key_sha256": "0" * 64, **values, "models": models or None})
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise ConfigurationError(_OPTIONS[field], values[field], field_docs(CallerSettings)[field].allowed) from None
    return tuple(checked.models or ())


def _print_for_file(caller: NewCaller, *, toml: bool) -> None:
    """Prints a key and its hash, or the lines of the configuration file."""
    default = NewCaller(caller.name, DEFAULT_TEAM)
    if caller.role == Role.VIEWER:
        raise ConfigurationError("--role", caller.role.value, "caller or admin, in a configuration file")
    if not toml and caller != default:
        raise ConfigurationError("--toml", None, "given with any other option, because there is no ledger to store it")
    key, hashed = new_key()
    if not toml:
        click.echo(f"key         {key}\nkey_sha256  {hashed}")
        return
    click.echo(f"The key of {caller.name}, shown only once: {key}", err=True)
    lines = ["[[callers]]", f'name = "{caller.name}"', f'key_sha256 = "{hashed}"']
    lines += [f'team = "{caller.team}"'] if caller.team != default.team else []
    lines += [f"weight = {caller.weight}"] if caller.weight != default.weight else []
    lines += [f'priority = "{caller.priority}"'] if caller.priority != default.priority else []
    # A list of JSON strings is one of TOML as well.
    lines += [f"models = {json.dumps(caller.models, ensure_ascii=False)}"] if caller.models else []
    lines += ["admin = true"] if caller.role == Role.ADMIN else []
    click.echo("\n".join([*lines, ""]))


def _row(key: KeyInfo, now: float) -> tuple[str, ...]:
    expires = "never" if key.expires_at is None else _time(key.expires_at)
    return (key.id, key.caller, key.team, key.role, key.state(now), _time(key.created_at), expires, key.created_by)


def _time(seconds: int | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).isoformat(timespec="minutes")
