"""Writes rules, dashboards, Alertmanager routes and runbooks for one installation."""

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
    """Changes thresholds, each written as `NAME=VALUE`. Must be called before `export`.

    Raises:
        ConfigurationError: the threshold is unknown, or the value is not allowed.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        shipped = _NUMBERS.get(name)
        if shipped is None:
            raise ConfigurationError("--threshold", setting, f"NAME=VALUE with a name of {', '.join(_NUMBERS)}")
        bound = 1.0 if name.endswith("_TARGET") else math.inf
        try:
            value = type(shipped)(text)
        except ValueError:
            value = math.nan
        if not 0 < value < bound:
            kind = "whole numbers" if isinstance(shipped, int) else "numbers"
            raise ConfigurationError("--threshold", setting, f"{kind} above 0 and below {bound:g}")
        setattr(thresholds, name, value)


def export(folder: Path, *, job: str, grafana_url: str, runbooks_url: str | None) -> list[Path]:
    """Writes all files into a folder, which is created if necessary. Returns the files and folders in it.

    Args:
        folder: the destination.
        job: name of the scrape job.
        grafana_url: base URL of dashboard links.
        runbooks_url: base URL of runbook links; None links to the exported runbooks.

    Raises:
        ConfigurationError: a threshold is not a bucket bound of its histogram; nothing was written.
        OSError: the folder is not writable.
    """
    # These modules read the thresholds when they are imported.
    try:
        from tidegate.monitoring.dashboards.boards import BOARDS, as_text  # noqa: PLC0415
        from tidegate.monitoring.rules.files import rule_files  # noqa: PLC0415
        from tidegate.monitoring.rules.rule import Installation  # noqa: PLC0415
    except ValueError as error:
        raise ConfigurationError("--threshold", "an impossible number", str(error)) from None

    rules, dashboards, runbooks = folder / "rules", folder / "dashboards", folder / "runbooks"
    rules.mkdir(parents=True, exist_ok=True)
    dashboards.mkdir(exist_ok=True)
    installation = Installation(job, grafana_url.rstrip("/"), (runbooks_url or str(runbooks.resolve())).rstrip("/"))
    for name, text in rule_files(installation).items():
        if ".e2e." not in name:
            (rules / name).write_text(text, encoding="utf-8")
    for board in BOARDS:
        (dashboards / f"{board.link.uid}.json").write_text(as_text(board, installation.runbooks_url), encoding="utf-8")
    shutil.copy(ALERTMANAGER_FILE, folder)
    shutil.copytree(RUNBOOKS_FOLDER, runbooks, dirs_exist_ok=True)
    return [rules, dashboards, folder / "alertmanager.yml", runbooks]
