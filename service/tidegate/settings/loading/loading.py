"""Loads the configuration and records the origin of each value. Reports each fault in one sentence."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.settings.fields.field_docs import field_docs
from tidegate.settings.fields.suggestions import did_you_mean
from tidegate.settings.loading.error_messages import DEFAULT_ORIGIN, configuration_errors
from tidegate.settings.loading.secret_files import SECRETS, file_variable, secrets_from_files
from tidegate.settings.loading.values import as_json, as_text
from tidegate.settings.model import Settings

__all__ = ["CONFIG_VARIABLE", "LoadedSettings", "load_settings"]

CONFIG_VARIABLE: Final = "TIDEGATE_CONFIG"
"""Variable with the path of the file to read instead of `tidegate.toml` in the working directory."""

_DEFAULT_FILE: Final = Path("tidegate.toml")
_OWN_PREFIX: Final = "TIDEGATE_"
_SERVICE_LINK: Final = re.compile(
    r"TIDEGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
"""Variables that Kubernetes sets in every pod for a Service named `tidegate` or `tidegate-…`."""
_SERVICE_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://")
"""Start of the value of a `…_PORT` variable set by Kubernetes."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and their origins.

    Attributes:
        settings: the settings.
        origins: the origin of each setting by its name: an environment variable, the configuration file,
            the file of a secret, or `default`.
        warnings: sentences about ignored values.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The effective configuration as lines of `name = value  (origin)`. Secrets are masked."""
        return [
            f"{name} = {as_text(getattr(self.settings, name), doc)}  ({self.origins[name]})"
            for name, doc in field_docs(Settings).items()
        ]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """The effective configuration as `value` and `origin` by name. Secrets and hashes are masked."""
        return {
            name: {"value": as_json(getattr(self.settings, name)), "origin": self.origins[name]}
            for name in field_docs(Settings)
        }


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> LoadedSettings:
    """Loads environment variables, which override a file, which overrides defaults.

    A secret may be in a file of its own, which a variable such as TIDEGATE_ADMIN_KEY_FILE names. An empty variable
    counts as not set. `file` overrides TIDEGATE_CONFIG. Only the default file may be missing.

    Raises:
        ConfigurationErrors: there are several faults.
        ConfigurationError: there is one fault; names the variable or the key, the value (never a secret) and what is
            allowed.
    """
    environ, warnings = _without_service_links(environ)
    errors = _unknown_variables(environ)
    source = "FILE"
    if file is None and environ.get(CONFIG_VARIABLE):
        source, file = CONFIG_VARIABLE, Path(environ[CONFIG_VARIABLE])
    from_file: dict[str, Any] = {}
    try:
        from_file = _read_file(file, source)
    except ConfigurationError as error:
        errors.append(error)
    secrets, secret_files, faults = secrets_from_files(environ)
    errors += faults
    from_environment = {
        name: environ[field.env] for name, field in field_docs(Settings).items() if field.env and environ.get(field.env)
    }
    origins = {
        **dict.fromkeys(Settings.model_fields, DEFAULT_ORIGIN),
        **dict.fromkeys(from_file, str(file or _DEFAULT_FILE)),
        **{name: str(field_docs(Settings)[name].env) for name in from_environment},
        **secret_files,
    }
    try:
        settings = Settings.model_validate({**from_file, **from_environment, **secrets})
    except ValidationError as error:
        errors += configuration_errors(error, origins, str(file or _DEFAULT_FILE))
        raise _combined(errors) from None
    if errors:
        raise _combined(errors)
    return LoadedSettings(settings, origins, warnings)


def _combined(errors: list[ConfigurationError]) -> ConfigurationError:
    distinct = list({str(error): error for error in errors}.values())  # pydantic reports each type of a union
    return distinct[0] if len(distinct) == 1 else ConfigurationErrors(distinct)


def _without_service_links(environ: Mapping[str, str]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Removes the variables set by Kubernetes, and returns a warning for each that has the name of a setting."""
    links = {
        name
        for name, value in environ.items()
        if name.startswith(_OWN_PREFIX)
        and (_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_LINK_URL.match(value)))
    }
    settings = {field.env for field in field_docs(Settings).values()}
    warnings = tuple(
        f"{name}={environ[name]} is ignored: Kubernetes sets it for a Service of that name; "
        "`enableServiceLinks: false` in the pod's specification avoids it"
        for name in sorted(links & settings)
    )
    return {name: value for name, value in environ.items() if name not in links}, warnings


def _unknown_variables(environ: Mapping[str, str]) -> list[ConfigurationError]:
    known = {
        CONFIG_VARIABLE,
        *map(file_variable, SECRETS),
        *(field.env for field in field_docs(Settings).values() if field.env),
    }
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
        raise ConfigurationError(source, str(path), "the path of an existing TOML file") from None
    except OSError as error:
        raise ConfigurationError(source, str(path), f"a readable file ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), "invalid TOML", f"TOML in UTF-8 ({error})") from None
