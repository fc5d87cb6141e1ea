"""Generates `tidegate.example.toml`: every key with its meaning, allowed values and default."""

import json
import textwrap
from enum import Enum
from typing import Final

from tidegate.settings.budgets import BudgetSettings
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.field_docs import SettingsModel, field_docs
from tidegate.settings.fields.field_types import AUTO
from tidegate.settings.loading.secret_files import SECRETS, file_variable
from tidegate.settings.model import Settings

__all__ = ["example_file"]

_HEAD: Final = """\
# Configuration of Tidegate: every key, with its default or an example. Uncomment a line to set it.
# Save this file as `tidegate.toml` in the working directory, or set TIDEGATE_CONFIG to its path. `tidegate check`
# validates it. Environment variables override it. Keep secrets in the environment, or in files that variables name.
"""
_CALLERS: Final = """\
# Callers: teams or programs with their own key. Without callers, the service is open, but only on loopback.
# `tidegate keys create NAME --toml` creates a key and prints these lines.
"""
_POOLS: Final = """\
# Pools: your own limits for one model or endpoint, below those of the upstream.
"""
_BUDGETS: Final = """\
# Budgets: how much callers, teams and sessions may spend. They need a ledger: see `state_dir` and `database_url`.
"""
_COLUMNS: Final = 118
_EXAMPLES: Final[dict[str, object]] = {
    "anthropic_api_key": "sk-ant-…",
    "admin_key": "a long random text",
    "metrics_host": "127.0.0.1",
    "metrics_port": 9_090,
    "state_dir": "/var/lib/tidegate",
    "store_replicas": 2,
    "database_url": "postgresql://tidegate@database.example:5432/tidegate",
    "team": "search",
    "caller": "web",
    "each": "session",
    "limit": 500.0,
    "contact": "platform@example.com",
    "prices": "/etc/tidegate/prices.toml",
    "trusted_proxies": ["10.0.0.0/8"],
    "queue_tokens": 10_000_000,
    "queue_tokens_per_caller": 1_000_000,
    "models": ["claude-haiku-5-5", "claude-sonnet-5-5"],
    "input_tokens_per_minute": 400_000,
    "output_tokens_per_minute": 80_000,
    "key_sha256": "0" * 64,
    "model": "claude-sonnet-5-5",
}
_NAMES: Final = {"callers": "web", "pools": "sonnet-5-5", "budgets": "search-month"}
_NUMBER: Final = 100
"""Example of any other setting without a default."""


def example_file() -> str:
    """The text of the file. It is valid, also with every key uncommented."""
    single = [name for name, field in field_docs(Settings).items() if field.env]
    parts = [_HEAD, *(_described(Settings, name, None) for name in single)]
    for table, model, head in (
        ("callers", CallerSettings, _CALLERS),
        ("pools", PoolLimits, _POOLS),
        ("budgets", BudgetSettings, _BUDGETS),
    ):
        keys = "".join(_described(model, name, table) for name in field_docs(model))
        parts.append(f"{head}# [[{table}]]\n{keys.rstrip()}\n")
    return "\n".join(parts)


def _described(model: type[SettingsModel], name: str, table: str | None) -> str:
    field = field_docs(model)[name]
    end = "" if field.meaning.endswith(".") else "."
    variable = f" Variable: {field.env}{_or_file(model, name)}." if field.env else ""
    text = f"{field.meaning[:1].upper()}{field.meaning[1:]}{end} Allowed: {field.allowed}.{variable}"
    comment = "".join(f"## {line}\n" for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False))
    return f"{comment}# {name} = {_value(model, name, table)}\n"


def _or_file(model: type[SettingsModel], name: str) -> str:
    is_secret = model is Settings and name in SECRETS
    return f", or {file_variable(name)} for a file with it" if is_secret else ""


def _value(model: type[SettingsModel], name: str, table: str | None) -> str:
    default = model.model_fields[name].get_default()
    if name == "name" and table is not None:
        value: object = _NAMES[table]
    elif default is None and AUTO in field_docs(model)[name].allowed:
        value = AUTO
    elif default in (None, ()) or model.model_fields[name].is_required():
        value = _EXAMPLES.get(name, _NUMBER)
    else:
        value = default.value if isinstance(default, Enum) else str(default) if name in SECRETS else default
    return json.dumps(value, ensure_ascii=False)  # TOML writes text, numbers, booleans and lists like JSON
