"""Reads secrets from files that environment variables name, as container platforms and systemd mount them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

from pydantic import SecretStr

from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings.fields.field_docs import field_docs
from tidegate.settings.model import Settings

__all__ = ["SECRETS", "file_variable", "secrets_from_files"]


def _is_secret(annotation: object) -> bool:
    types = (annotation, *get_args(annotation))
    return any(isinstance(each, type) and issubclass(each, SecretStr) for each in types)


SECRETS: Final = frozenset(name for name, field in Settings.model_fields.items() if _is_secret(field.annotation))
"""Names of the settings that are secret."""

_SUFFIX: Final = "_FILE"
_ALLOWED: Final = "the path of a readable file with one line of text"


def file_variable(name: str) -> str:
    """The environment variable that names the file of a secret setting."""
    return f"{field_docs(Settings)[name].env}{_SUFFIX}"


def secrets_from_files(
    environ: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, str], list[ConfigurationError]]:
    """The secrets that files hold and the paths of these files, both by name of setting, and the faults.

    The end of the line is not part of a secret. A fault never quotes the content of a file.
    """
    values: dict[str, str] = {}
    paths: dict[str, str] = {}
    faults: list[ConfigurationError] = []
    for name in sorted(SECRETS):
        variable = file_variable(name)
        if path := environ.get(variable):
            try:
                values[name] = _secret_in(path, variable, environ)
                paths[name] = path
            except ConfigurationError as fault:
                faults.append(fault)
    return values, paths, faults


def _secret_in(path: str, variable: str, environ: Mapping[str, str]) -> str:
    shown = path if "/" in path else "(hidden)"  # it may be the secret itself, in the wrong variable
    direct = variable.removesuffix(_SUFFIX)
    if environ.get(direct):
        raise ConfigurationError(variable, shown, f"only without {direct}, which is set as well")
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(variable, shown, f"{_ALLOWED} ({error.strerror})") from None
    except ValueError:
        raise ConfigurationError(variable, shown, f"{_ALLOWED} (it is not UTF-8)") from None
    if not text.strip():
        raise ConfigurationError(variable, shown, f"{_ALLOWED} (it is empty)")
    if not text.isprintable():
        raise ConfigurationError(variable, shown, f"{_ALLOWED} (it has several lines, or control characters)")
    return text
