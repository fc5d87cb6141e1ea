"""Reads the configuration and says where each value came from; every fault is one sentence."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError

from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.settings.documented import documented_fields
from tidegate.settings.faults import DEFAULT_ORIGIN, faults_of
from tidegate.settings.fields import AUTO, Documented
from tidegate.settings.hints import did_you_mean
from tidegate.settings.model import Settings

__all__ = ["CONFIG_VARIABLE", "LoadedSettings", "load_settings"]

CONFIG_VARIABLE: Final = "TIDEGATE_CONFIG"
"""Names the file to read instead of `tidegate.toml` in the working directory."""

_DEFAULT_FILE: Final = Path("tidegate.toml")
_OWN_PREFIX: Final = "TIDEGATE_"
_SERVICE_LINK: Final = re.compile(
    r"TIDEGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
"""Variables that Kubernetes sets in every pod for a Service named `tidegate`, or `tidegate-` and something."""
_SERVICE_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://")
"""How the value of a variable `…_PORT` begins if Kubernetes has set it."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, with the origin of each by its name: an environment variable, a file, or `default`.

    Attributes:
        settings: the settings.
        origins: where each came from.
        warnings: sentences about what was ignored.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The effective configuration for the terminal, one `name = value  (origin)` each; secrets are masked."""
        return [
            f"{name} = {_shown(getattr(self.settings, name), documented)}  ({self.origins[name]})"
            for name, documented in documented_fields().items()
        ]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """The effective configuration for programs: `value` and `origin` by name; secrets and hashes are masked."""
        return {
            name: {"value": _plain(getattr(self.settings, name)), "origin": self.origins[name]}
            for name in documented_fields()
        }


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> LoadedSettings:
    """Reads environment variables, over a file, over defaults. An empty variable counts as not set.

    `file` goes before TIDEGATE_CONFIG; only the default file may be absent.

    Raises:
        ConfigurationErrors: there are several faults; each as below.
        ConfigurationError: the only fault: the variable or the file's key, what was given (never a secret), and what is
            allowed.
    """
    environ, warnings = _without_service_links(environ)
    faults = _unknown_variables(environ)
    source = "FILE"
    if file is None and environ.get(CONFIG_VARIABLE):
        source, file = CONFIG_VARIABLE, Path(environ[CONFIG_VARIABLE])
    from_file: dict[str, Any] = {}
    try:
        from_file = _read_file(file, source)
    except ConfigurationError as error:
        faults.append(error)
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
        faults += faults_of(error, origins, str(file or _DEFAULT_FILE))
        raise _together(faults) from None
    if faults:
        raise _together(faults)
    return LoadedSettings(settings, origins, warnings)


def _together(faults: list[ConfigurationError]) -> ConfigurationError:
    distinct = list({str(fault): fault for fault in faults}.values())  # the types of a union fail one by one
    return distinct[0] if len(distinct) == 1 else ConfigurationErrors(distinct)


def _without_service_links(environ: Mapping[str, str]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The variables without those that Kubernetes sets, and a warning for each that has the name of a setting."""
    links = {
        name
        for name, value in environ.items()
        if name.startswith(_OWN_PREFIX)
        and (_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_LINK_URL.match(value)))
    }
    settings = {field.env for field in documented_fields().values()}
    warnings = tuple(
        f"{name}={environ[name]} is ignored: Kubernetes sets it for a Service of that name; "
        "`enableServiceLinks: false` in the pod prevents it"
        for name in sorted(links & settings)
    )
    return {name: value for name, value in environ.items() if name not in links}, warnings


def _unknown_variables(environ: Mapping[str, str]) -> list[ConfigurationError]:
    known = {CONFIG_VARIABLE, *(field.env for field in documented_fields().values() if field.env)}
    return [
        ConfigurationError("environment", name, f"only the documented TIDEGATE_ variables{did_you_mean(name, known)}")
        for name in sorted(environ)
        if name.startswith(_OWN_PREFIX) and name not in known
    ]


def _read_file(file: Path | None, source: str) -> dict[str, Any]:
    path = file or _DEFAULT_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigurationError(source, str(path), "the path of a TOML file that exists") from None
    except OSError as error:
        raise ConfigurationError(source, str(path), f"a file that can be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), "no valid TOML", f"TOML in UTF-8 ({error})") from None


def _shown(value: object, documented: Documented) -> str:
    match value:
        case None:
            return AUTO if AUTO in documented.allowed else "not set"
        case SecretStr():
            return "(set)"
        case ():
            return "none"
        case tuple():
            return ", ".join(str(getattr(entry, "name", entry)) for entry in value)
        case _:
            return repr(value) if isinstance(value, str) else str(value)


def _plain(value: object) -> object:
    """A value as JSON has it; None where it is not set, or left to the upstream."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case SecretStr():
            return "(set)"
        case tuple():
            return [_plain(entry) for entry in value]
        case BaseModel():
            return {
                name: "(set)" if name == "key_sha256" else _plain(getattr(value, name))
                for name in type(value).model_fields
            }
        case _:
            return str(value)
