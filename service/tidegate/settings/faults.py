"""Makes a sentence of each fault of the configuration: its place, what was given, and what is allowed."""

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings.documented import documented_fields
from tidegate.settings.hints import did_you_mean
from tidegate.settings.model import CallerSettings, PoolLimits, Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["DEFAULT_ORIGIN", "faults_of"]

DEFAULT_ORIGIN: Final = "default"
"""Origin of a value that nobody set."""

_TABLES: Final[dict[str, type[BaseModel]]] = {"callers": CallerSettings, "pools": PoolLimits}


def faults_of(error: ValidationError, origins: Mapping[str, str], file: str) -> list[ConfigurationError]:
    """All faults that pydantic found in values from these origins, with unknown keys of this file."""
    return [_fault(each, origins, file) for each in error.errors(include_url=False)]


def _fault(fault: "ErrorDetails", origins: Mapping[str, str], file: str) -> ConfigurationError:
    cause = fault.get("ctx", {}).get("error")
    location: tuple[int | str, ...] = fault["loc"]
    if isinstance(cause, ConfigurationError):
        return ConfigurationError(_place((cause.field,), origins), cause.given, cause.allowed)
    if fault["type"] == "extra_forbidden":
        return _unknown_key(location, origins, file)
    return ConfigurationError(_place(location, origins), _given(fault), _allowed(location))


def _unknown_key(location: tuple[int | str, ...], origins: Mapping[str, str], file: str) -> ConfigurationError:
    key = str(location[-1])
    if len(location) > 1:
        known = _TABLES[str(location[0])].model_fields
        allowed = f"only the keys {', '.join(known)}{did_you_mean(key, known)}"
        return ConfigurationError(_place(location[:-1], origins), key, allowed)
    variables = {field.env.lower(): name for name, field in documented_fields().items() if field.env}
    likely = difflib.get_close_matches(key.lower(), [*Settings.model_fields, *variables], n=1)
    hint = f"; did you mean {variables.get(likely[0], likely[0])}?" if likely else "; `tidegate check` lists them all"
    return ConfigurationError(file, key, f"only the documented keys{hint}")


def _given(fault: "ErrorDetails") -> object:
    """The value at fault, without secrets: a URL that was refused may hold a password, too."""
    if fault["type"] == "missing":
        return None
    if SecretStr in get_args(Settings.model_fields[str(fault["loc"][0])].annotation):
        return "(hidden)"
    given = fault["input"]
    return re.sub(r"//[^/@]*@", "//…@", given) if isinstance(given, str) else given


def _allowed(location: tuple[int | str, ...]) -> str:
    """What the documentation of the field at a location allows; of a table's field where it leads into a table."""
    name = str(location[0])
    if name in _TABLES and len(location) > 2:
        return documented_fields(_TABLES[name])[str(location[2])].allowed
    return documented_fields()[name].allowed


def _place(location: tuple[int | str, ...], origins: Mapping[str, str]) -> str:
    """The environment variable that a value came from (or would have come from), or the file and the key in it."""
    name = str(location[0]).partition("[")[0]
    field = documented_fields()[name]
    origin = origins[name]
    if field.env and origin in {field.env, DEFAULT_ORIGIN}:
        return field.env
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{origin}: {key}"
