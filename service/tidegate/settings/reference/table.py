"""Generates the table of all settings in this folder's README.md."""

from tidegate.settings.budgets import BudgetSettings
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.field_docs import SettingsModel, field_docs
from tidegate.settings.fields.field_types import AUTO
from tidegate.settings.loading.loading import CONFIG_VARIABLE
from tidegate.settings.loading.secret_files import SECRETS, file_variable
from tidegate.settings.model import Settings

__all__ = ["settings_table"]


def settings_table() -> str:
    """All settings as two Markdown tables: those with an environment variable, and those of the file only."""
    single = [
        "| environment variable | key in the file | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
        f"| `{CONFIG_VARIABLE}` | – | `tidegate.toml` | path of a TOML file | Which file is read. |",
        *(
            f"| {_variables(name)} | `{name}` | {_default(Settings, name)} | {field.allowed} | {field.meaning} |"
            for name, field in field_docs(Settings).items()
            if field.env
        ),
    ]
    entries = [
        "| only in the file | key | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `[[{table}]]` | `{name}` | {_default(model, name)} | {field.allowed} | {field.meaning} |"
            for table, model in (("callers", CallerSettings), ("pools", PoolLimits), ("budgets", BudgetSettings))
            for name, field in field_docs(model).items()
        ),
    ]
    return "\n".join([*single, "", *entries, ""])


def _variables(name: str) -> str:
    variable = f"`{field_docs(Settings)[name].env}`"
    return f"{variable} or `{file_variable(name)}`" if name in SECRETS else variable


def _default(model: type[SettingsModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if field.default == ():
        return "none"
    if field.default is None:
        return f"`{AUTO}`" if AUTO in field_docs(model)[name].allowed else "not set"
    return f"`{field.default}`"
