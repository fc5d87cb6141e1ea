"""Reads the configuration and says where each value came from; every fault is one sentence."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from tidegate.core.errors import ConfigurationError
from tidegate.settings.fields import AUTO, Documented
from tidegate.settings.model import CallerSettings, PoolLimits, Settings
from tidegate.settings.values import Values

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["CONFIG_VARIABLE", "DEFAULT_ORIGIN", "LoadedSettings", "documented_fields", "load_settings"]

CONFIG_VARIABLE: Final = "TIDEGATE_CONFIG"
"""Names the file to read instead of `tidegate.toml` in the working directory."""

DEFAULT_ORIGIN: Final = "default"
"""Origin of a value that nobody set."""

_DEFAULT_FILE: Final = Path("tidegate.toml")
_OWN_PREFIX: Final = "TIDEGATE_"
_SERVICE_LINKS: Final = re.compile(r"TIDEGATE_(SERVICE_|PORT_\d)")
"""What Kubernetes sets in every pod beside a Service named `tidegate`; not meant for us."""

_TABLES: Final[dict[str, type[BaseModel]]] = {"callers": CallerSettings, "pools": PoolLimits}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, with the origin of each by its name: an environment variable, a file, or `default`."""

    settings: Settings
    origins: Mapping[str, str]

    def lines(self) -> list[str]:
        """The effective configuration for the terminal, one `name = value  (origin)` each; secrets are masked."""
        return [
            f"{name} = {_shown(getattr(self.settings, name), documented)}  ({self.origins[name]})"
            for name, documented in documented_fields().items()
        ]


def documented_fields(model: type[BaseModel] = Settings) -> dict[str, Documented]:
    """What is documented of each field of a settings model: those of its own in their order, then inherited groups."""
    inherited = {name for base in model.__bases__ if base is not Values for name in getattr(base, "model_fields", ())}
    return {
        name: next(item for item in model.model_fields[name].metadata if isinstance(item, Documented))
        for name in sorted(model.model_fields, key=lambda name: name in inherited)
    }


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> LoadedSettings:
    """Reads environment variables, over a file, over defaults. An empty variable counts as not set.

    `file` goes before TIDEGATE_CONFIG; only the default file may be absent.

    Raises:
        ConfigurationError: the first fault found: the variable or the file's key, what was given (never a secret),
            and what is allowed.
    """
    _refuse_unknown_variables(environ)
    if file is None and environ.get(CONFIG_VARIABLE):
        file = Path(environ[CONFIG_VARIABLE])
    from_file = _read_file(file)
    from_environment = {
        name: environ[field.env] for name, field in documented_fields().items() if field.env and environ.get(field.env)
    }
    origins = {
        **dict.fromkeys(Settings.model_fields, DEFAULT_ORIGIN),
        **dict.fromkeys(from_file, str(file or _DEFAULT_FILE)),
        **{name: str(documented_fields()[name].env) for name in from_environment},
    }
    try:
        settings = Settings.model_validate({**from_file, **from_environment})
    except ValidationError as error:
        raise _in_one_sentence(error, origins, str(file or _DEFAULT_FILE)) from None
    return LoadedSettings(settings, origins)


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {CONFIG_VARIABLE, *(field.env for field in documented_fields().values() if field.env)}
    for name in sorted(environ):
        if name.startswith(_OWN_PREFIX) and name not in known and not _SERVICE_LINKS.match(name):
            likely = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {likely[0]}?" if likely else ""
            raise ConfigurationError("environment", name, f"only the documented TIDEGATE_ variables{hint}")


def _read_file(file: Path | None) -> dict[str, Any]:
    path = file or _DEFAULT_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigurationError(CONFIG_VARIABLE, str(path), "the path of a TOML file that exists") from None
    except OSError as error:
        raise ConfigurationError(CONFIG_VARIABLE, str(path), f"a file that can be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), "no valid TOML", f"TOML in UTF-8 ({error})") from None


def _in_one_sentence(error: ValidationError, origins: Mapping[str, str], file: str) -> ConfigurationError:
    fault = error.errors(include_url=False)[0]
    cause = fault.get("ctx", {}).get("error")
    location: tuple[int | str, ...] = fault["loc"]
    if isinstance(cause, ConfigurationError):
        return ConfigurationError(_place((cause.field,), origins), cause.given, cause.allowed)
    if fault["type"] == "extra_forbidden":
        model = _TABLES.get(str(location[0]), Settings) if len(location) > 1 else Settings
        allowed = f"only the keys {', '.join(model.model_fields)}"
        place = _place(location[:-1], origins) if len(location) > 1 else file
        return ConfigurationError(place, location[-1], allowed)
    return ConfigurationError(_place(location, origins), _given(fault), _allowed(location))


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
    name = str(location[0])
    field = documented_fields()[name]
    origin = origins[name]
    if field.env and origin in {field.env, DEFAULT_ORIGIN}:
        return field.env
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{origin}: {key}"


def _shown(value: object, documented: Documented) -> str:
    match value:
        case None:
            return AUTO if AUTO in documented.allowed else "not set"
        case SecretStr():
            return "(set)"
        case tuple():
            return f"{len(value)} entries"
        case _:
            return repr(value) if isinstance(value, str) else str(value)
