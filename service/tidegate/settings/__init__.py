"""Typed configuration from environment variables, a TOML file and defaults, in this order of precedence."""

from tidegate.settings.budgets import BudgetSettings
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.field_types import AUTO
from tidegate.settings.loading.loading import LoadedSettings, load_settings
from tidegate.settings.model import Settings
from tidegate.settings.reference.table import settings_table

__all__ = [
    "AUTO",
    "BudgetSettings",
    "CallerSettings",
    "LoadedSettings",
    "PoolLimits",
    "Settings",
    "load_settings",
    "settings_table",
]
