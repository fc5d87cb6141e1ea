"""`tidegate keys`: makes keys for callers."""

import secrets
from typing import Annotated

import typer

from tidegate.core.domain.errors import ConfigurationError
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings

__all__ = ["keys"]

keys = typer.Typer(name="keys", help="Keys of callers.", no_args_is_help=True)

_KEY_BYTES = 32
_PREFIX = "tg_"
"""Secret scanners and people see what it is."""


@keys.callback()
def _group() -> None:
    """Keys of callers."""


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the caller: a team or a program.")],
    *,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the lines for tidegate.toml on stdout, and the key on stderr.")
    ] = False,
    admin: Annotated[bool, typer.Option("--admin", help="The key may make admin calls, too.")] = False,
) -> None:
    """Make a random key (256 bits) for a caller. It is printed once and stored nowhere; the file holds its SHA-256."""
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    hashed = key_hash(key)
    try:
        CallerSettings(name=name, key_sha256=hashed)
    except ValueError:
        allowed = "letters, digits, dot, dash or underscore, at most 63; the first a letter or digit"
        raise ConfigurationError("NAME", name, allowed) from None
    if not toml:
        typer.echo(f"key         {key}\nkey_sha256  {hashed}")
        return
    typer.echo(f"The key of {name}, shown only now: {key}", err=True)
    lines = ["[[callers]]", f'name = "{name}"', f'key_sha256 = "{hashed}"']
    typer.echo("\n".join([*lines, *(["admin = true"] if admin else []), ""]))
