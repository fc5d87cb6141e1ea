"""Turns pydantic's validation errors into one sentence each: the setting, the value, and what is allowed."""

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings.budgets import BudgetSettings
from tidegate.settings.entries import CallerSettings, PoolLimits
from tidegate.settings.fields.field_docs import SettingsModel, field_docs
from tidegate.settings.fields.suggestions import did_you_mean
from tidegate.settings.loading.secret_files import SECRETS
from tidegate.settings.model import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["DEFAULT_ORIGIN", "configuration_errors"]

DEFAULT_ORIGIN: Final = "default"
"""Origin of a default value."""

_TABLES: Final[dict[str, type[SettingsModel]]] = {
    "callers": CallerSettings,
    "pools": PoolLimits,
    "budgets": BudgetSettings,
}


def configuration_errors(error: ValidationError, origins: Mapping[str, str], file: str) -> list[ConfigurationError]:
    """One error per fault that pydantic found.

    Args:
        error: pydantic's error.
        origins: where each setting came from, by its name.
        file: the configuration file, which is named for unknown keys.
    """
    return [_configuration_error(each, origins, file) for each in error.errors(include_url=False)]


def _configuration_error(details: "ErrorDetails", origins: Mapping[str, str], file: str) -> ConfigurationError:
    cause = details.get("ctx", {}).get("error")
    location: tuple[int | str, ...] = details["loc"]
    if isinstance(cause, ConfigurationError):
        return ConfigurationError(_place((cause.field,), origins), cause.given, cause.allowed)
    if details["type"] == "extra_forbidden":
        return _unknown_key(location, origins, file)
    return ConfigurationError(_place(location, origins), _given(details), _allowed(location))


def _unknown_key(location: tuple[int | str, ...], origins: Mapping[str, str], file: str) -> ConfigurationError:
    key = str(location[-1])
    if len(location) > 1:
        known = _TABLES[str(location[0])].model_fields
        allowed = f"only the keys {', '.join(known)}{did_you_mean(key, known)}"
        return ConfigurationError(_place(location[:-1], origins), key, allowed)
    variables = {field.env.lower(): name for name, field in field_docs(Settings).items() if field.env}
    likely = difflib.get_close_matches(key.lower(), [*Settings.model_fields, *variables], n=1)
    hint = f"; did you mean {variables.get(likely[0], likely[0])}?" if likely else "; `tidegate check` lists them all"
    return ConfigurationError(file, key, f"only the documented keys{hint}")


def _given(details: "ErrorDetails") -> object:
    """The refused value, without secrets and without the password of a URL."""
    if details["type"] == "missing":
        return None
    if details["loc"][0] in SECRETS:
        return "(hidden)"
    given = details["input"]
    return re.sub(r"//[^/@]*@", "//…@", given) if isinstance(given, str) else given


def _allowed(location: tuple[int | str, ...]) -> str:
    """The allowed values of the field at a location, which may lead into a table."""
    name = str(location[0])
    if name in _TABLES and len(location) > 2:
        return field_docs(_TABLES[name])[str(location[2])].allowed
    return field_docs(Settings)[name].allowed


def _place(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str:
    """The environment variable that sets the field, or the file and the key in it if the value came from there."""
    name = str(location[0]).partition("[")[0]
    field = field_docs(Settings)[name]
    origin = origins[name]
    if field.env and origin in {field.env, DEFAULT_ORIGIN}:
        return field.env
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{origin}: {key}"
