"""Writes rules, dashboards, Alertmanager's routes and runbooks for one installation."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tidegate.core.domain.errors import ConfigurationError
from tidegate.monitoring import ALERTMANAGER_FILE, RUNBOOKS_FOLDER
from tidegate.observe.metrics import thresholds

__all__ = ["export", "set_thresholds"]

_NUMBERS: Final[dict[str, int | float]] = {
    name: value for name, value in vars(thresholds).items() if name.isupper() and isinstance(value, int | float)
}


def set_thresholds(settings: Sequence[str]) -> None:
    """Sets numbers of `observe.thresholds`, each written as `NAME=VALUE`, before anything is built from them.

    Raises:
        ConfigurationError: there is no such number, or it cannot have this value.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        shipped = _NUMBERS.get(name)
        if shipped is None:
            raise ConfigurationError("--threshold", setting, f"NAME=VALUE with a name of {', '.join(_NUMBERS)}")
        most = 1.0 if name.endswith("_TARGET") else math.inf
        try:
            value = type(shipped)(text)
        except ValueError:
            value = math.nan
        if not 0 < value < most:
            kind = "whole numbers" if isinstance(shipped, int) else "numbers"
            raise ConfigurationError("--threshold", setting, f"{kind} above 0 and below {most:g}")
        setattr(thresholds, name, value)


def export(folder: Path, *, job: str, grafana_url: str, runbooks_url: str | None) -> list[Path]:
    """Writes into a folder, which is made unless it exists; returns what was written, folders as one.

    `runbooks_url` None: links lead to the runbooks that are written.

    Raises:
        ConfigurationError: a threshold is none of the bounds of its histogram; nothing was written.
        OSError: the folder cannot be written to.
    """
    # These read the thresholds as they are imported.
    try:
        from tidegate.monitoring.dashboards.all import BOARDS, as_text  # noqa: PLC0415
        from tidegate.monitoring.rules.files import rule_files  # noqa: PLC0415
        from tidegate.monitoring.rules.rule import Places  # noqa: PLC0415
    except ValueError as error:
        raise ConfigurationError("--threshold", "a number that cannot be", str(error)) from None

    rules, dashboards, runbooks = folder / "rules", folder / "dashboards", folder / "runbooks"
    rules.mkdir(parents=True, exist_ok=True)
    dashboards.mkdir(exist_ok=True)
    places = Places(job, grafana_url.rstrip("/"), (runbooks_url or str(runbooks.resolve())).rstrip("/"))
    for name, text in rule_files(places).items():
        if ".e2e." not in name:
            (rules / name).write_text(text, encoding="utf-8")
    for board in BOARDS:
        (dashboards / f"{board.link.uid}.json").write_text(as_text(board), encoding="utf-8")
    shutil.copy(ALERTMANAGER_FILE, folder)
    shutil.copytree(RUNBOOKS_FOLDER, runbooks, dirs_exist_ok=True)
    return [rules, dashboards, folder / "alertmanager.yml", runbooks]
