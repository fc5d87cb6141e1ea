"""Compares two configurations: which values changed, and which of them only a restart can apply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tidegate.settings.budgets import BudgetSettings
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.field_docs import SettingsModel, field_docs
from tidegate.settings.loading.secret_files import SECRETS
from tidegate.settings.loading.values import as_json, as_text
from tidegate.settings.model import Settings

__all__ = ["NEEDS_RESTART", "RELOADABLE", "Change", "changes_between", "reloaded"]

NEEDS_RESTART: Final = frozenset(
    {
        *("host", "port", "metrics_host", "metrics_port"),  # sockets are bound at the start
        *(
            "upstream_url",
            "store_url",
            "store_start",
            "store_replicas",
            "state_dir",
            "prices",
            "ledger",
            "database_url",
            "tenant",
            "unowned",
        ),
        *("log_format", "trace_upstream", "revision", "metric_callers"),
    }
)
"""Settings that only a restart applies."""

RELOADABLE: Final = frozenset(
    {
        *("callers", "admin_key", "trusted_proxies", "open_metrics_and_docs"),
        *("anthropic_api_key", "model", "fallback_model", "default_timeout_seconds"),
        *("budgets", "max_usd_per_session"),
        *("pools", "pool_requests_per_minute", "pool_input_tokens_per_minute", "pool_output_tokens_per_minute"),
        *("pool_burst_seconds", "queue_requests", "queue_requests_per_caller", "queue_tokens"),
        *("queue_tokens_per_caller", "requests_per_minute", "burst_limit"),
        *("rate_limit_base_delay_seconds", "rate_limit_max_delay_seconds"),
        *("stream_hold_seconds", "stream_idle_seconds", "read_on_seconds", "read_on_calls"),
        *("stream_comment_seconds", "stream_wait_seconds"),
        *("max_calls", "max_calls_per_caller", "max_held_body_bytes", "max_held_body_bytes_per_caller"),
        *("max_header_bytes", "header_seconds", "body_idle_seconds", "slow_client_seconds", "max_body_bytes"),
        *("log_level", "drain_notice_seconds", "drain_seconds"),
    }
)
"""Settings that a reload applies."""

_Entry = CallerSettings | PoolLimits | BudgetSettings
_HIDDEN: Final = SECRETS | {"key_sha256"}


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is different.

    Attributes:
        setting: its name; of an entry, such as `callers.web.weight`.
        kind: whether the value or the entry was added, removed or changed.
        values: the values before and after, in JSON; None if they are secret, or a whole entry.
        text: the change for people, on one line.
        needs_restart: whether only a restart applies it.
    """

    setting: str
    kind: Literal["added", "removed", "changed"]
    text: str
    values: tuple[object, object] | None = None
    needs_restart: bool = False

    def as_json(self) -> dict[str, Any]:
        """The change as an object for programs."""
        shown = {} if self.values is None else {"before": self.values[0], "after": self.values[1]}
        return {"setting": self.setting, "change": self.kind, **shown}


def changes_between(before: Settings, after: Settings) -> list[Change]:
    """All changes, in the order of the settings. The order of callers, pools and budgets does not count."""
    found: list[Change] = []
    for name in field_docs(Settings):
        if name in {"callers", "pools", "budgets"}:
            found += _entry_changes(name, getattr(before, name), getattr(after, name))
        else:
            found += _value_changes(name, name, before, after)
    return found


def reloaded(before: Settings, after: Settings) -> Settings:
    """The settings in effect once `after` is reloaded: what needs a restart stays as `before`."""
    return after.model_copy(update={name: getattr(before, name) for name in NEEDS_RESTART})


def _value_changes(setting: str, field: str, before: SettingsModel, after: SettingsModel) -> Iterator[Change]:
    old, new = getattr(before, field), getattr(after, field)
    if old == new:
        return
    needs_restart = setting in NEEDS_RESTART
    if field in _HIDDEN:
        kind: Literal["added", "removed", "changed"] = "changed" if old and new else "added" if new else "removed"
        yield Change(setting, kind, f"{setting} {kind}", needs_restart=needs_restart)
        return
    doc = field_docs(type(after))[field]
    text = f"{setting} {as_text(old, doc)} → {as_text(new, doc)}"
    yield Change(setting, "changed", text, (as_json(old), as_json(new)), needs_restart)


def _entry_changes(table: str, before: Sequence[_Entry], after: Sequence[_Entry]) -> Iterator[Change]:
    old: Mapping[str, SettingsModel] = {entry.name: entry for entry in before}
    new: Mapping[str, SettingsModel] = {entry.name: entry for entry in after}
    for name in sorted({*old, *new}):
        setting = f"{table}.{name}"
        if name not in old:
            yield Change(setting, "added", f"{setting} added")
        elif name not in new:
            yield Change(setting, "removed", f"{setting} removed")
        else:
            for field in field_docs(type(new[name])):
                yield from _value_changes(f"{setting}.{field}", field, old[name], new[name])
