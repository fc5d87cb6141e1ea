"""The table of all settings for the README, made from the settings themselves."""

from pydantic import BaseModel

from tidegate.settings.documented import documented_fields
from tidegate.settings.fields import AUTO
from tidegate.settings.loading import CONFIG_VARIABLE
from tidegate.settings.model import CallerSettings, PoolLimits, Settings

__all__ = ["settings_table"]


def settings_table() -> str:
    """All settings as Markdown tables: those of the environment and file, then what only the file can hold."""
    single = [
        "| environment variable | key in the file | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
        f"| `{CONFIG_VARIABLE}` | – | `tidegate.toml` | path of a TOML file | Which file is read. |",
        *(
            f"| `{field.env}` | `{name}` | {_default(Settings, name)} | {field.allowed} | {field.meaning} |"
            for name, field in documented_fields().items()
            if field.env
        ),
    ]
    entries = [
        "| only in the file | key | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `[[{table}]]` | `{name}` | {_default(model, name)} | {field.allowed} | {field.meaning} |"
            for table, model in (("callers", CallerSettings), ("pools", PoolLimits))
            for name, field in documented_fields(model).items()
        ),
    ]
    return "\n".join([*single, "", *entries, ""])


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if field.default == ():
        return "none"
    if field.default is None:
        return f"`{AUTO}`" if AUTO in documented_fields(model)[name].allowed else "not set"
    return f"`{field.default}`"
