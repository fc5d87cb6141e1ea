"""`python -m deploy --into FOLDER`: rules, dashboards, Alertmanager's routes and runbooks, for one installation."""

import argparse
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tidegate.observe import thresholds

_HERE: Final = Path(__file__).parent
_NUMBERS: Final[dict[str, int | float]] = {
    name: value for name, value in vars(thresholds).items() if name.isupper() and isinstance(value, int | float)
}


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="folder to write to")
    parser.add_argument("--job", default="tidegate", help="name of the scrape job (default: %(default)s)")
    parser.add_argument(
        "--grafana-url", default="http://localhost:3000", help="base of dashboard links (default: %(default)s)"
    )
    parser.add_argument("--runbooks-url", help="base of runbook links (default: the runbooks in the folder)")
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="instead of a number in service/tidegate/observe/thresholds.py; as often as needed",
    )
    given = parser.parse_args()
    try:
        _set_thresholds(given.threshold)
        _write(given.into, given.job, given.grafana_url, given.runbooks_url or str(given.into.resolve() / "runbooks"))
    except ValueError as error:
        parser.error(str(error))


def _set_thresholds(settings: Sequence[str]) -> None:
    """Sets numbers before anything is built from them.

    Raises:
        ValueError: there is no such number, or it cannot have this value.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        shipped = _NUMBERS.get(name)
        if shipped is None:
            raise ValueError(f"--threshold {setting}: allowed are the numbers in {thresholds.__name__}")
        most = 1.0 if name.endswith("_TARGET") else math.inf
        try:
            value = type(shipped)(text)
        except ValueError:
            value = math.nan
        if not 0 < value < most:
            kind = "whole numbers" if isinstance(shipped, int) else "numbers"
            raise ValueError(f"--threshold {setting}: allowed are {kind} above 0 and below {most:g}")
        setattr(thresholds, name, value)


def _write(folder: Path, job: str, grafana_url: str, runbooks_url: str) -> None:
    # These read the thresholds as they are imported.
    from dashboards.all import BOARDS, as_text  # noqa: PLC0415
    from deploy.prometheus.files import rule_files  # noqa: PLC0415
    from deploy.prometheus.rule import Places  # noqa: PLC0415

    rules, dashboards = folder / "rules", folder / "dashboards"
    rules.mkdir(parents=True, exist_ok=True)
    dashboards.mkdir(exist_ok=True)
    for name, text in rule_files(Places(job, grafana_url, runbooks_url)).items():
        if ".e2e." not in name:
            (rules / name).write_text(text, encoding="utf-8")
    for board in BOARDS:
        (dashboards / f"{board.link.uid}.json").write_text(as_text(board), encoding="utf-8")
    shutil.copy(_HERE / "alertmanager/alertmanager.yml", folder)
    shutil.copytree(_HERE / "runbooks", folder / "runbooks", dirs_exist_ok=True)


if __name__ == "__main__":
    _main()
