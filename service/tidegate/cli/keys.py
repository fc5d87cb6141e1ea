"""`tidegate keys`: creates keys for callers."""

import secrets

import click

from tidegate.core.domain.errors import ConfigurationError
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings

__all__ = ["keys"]

_KEY_BYTES = 32
_PREFIX = "tg_"
"""Makes keys recognizable to people and secret scanners."""


@click.group()
def keys() -> None:
    """Keys of callers."""


@keys.command()
@click.argument("name")
@click.option("--toml", is_flag=True, help="Print the lines for tidegate.toml on stdout, and the key on stderr.")
@click.option("--admin", is_flag=True, help="Allow admin calls with the key.")
def create(name: str, *, toml: bool, admin: bool) -> None:
    """Create a random key (256 bits) for the caller NAME, which is a team or a program.

    The key is printed once and not stored. The configuration file holds its SHA-256.
    """
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    hashed = key_hash(key)
    try:
        CallerSettings(name=name, key_sha256=hashed)
    except ValueError:
        allowed = "letters, digits, dot, dash or underscore, at most 63; the first is a letter or digit"
        raise ConfigurationError("NAME", name, allowed) from None
    if not toml:
        click.echo(f"key         {key}\nkey_sha256  {hashed}")
        return
    click.echo(f"The key of {name}, shown only once: {key}", err=True)
    lines = ["[[callers]]", f'name = "{name}"', f'key_sha256 = "{hashed}"']
    click.echo("\n".join([*lines, *(["admin = true"] if admin else []), ""]))
