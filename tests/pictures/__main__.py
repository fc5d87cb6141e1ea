"""`make pictures VIEWER=…`: draws the first screen of the Overview during each fault."""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from pictures.recordings import Recording
from pictures.scenes import SCENES, play
from pictures.viewer import Viewer
from tidegate.monitoring.dashboards.content.overview import OVERVIEW_BOARD


def main() -> int:
    """Draws the faults that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="pictures", description=__doc__)
    parser.add_argument(
        "--viewer",
        required=True,
        help="a program that draws a dashboard: VIEWER DASHBOARD.json PROMETHEUS_URL PICTURE.png --from … --to …",
    )
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder of the pictures")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help=f"of {', '.join(SCENES)}")
    parser.add_argument("--again", action="store_true", help="draw from the recordings of an earlier run")
    given = parser.parse_args()
    program = shutil.which(given.viewer)
    if program is None:
        parser.error(f"--viewer: got {given.viewer}, allowed is an executable program")
    if unknown := sorted({*given.fault} - {*SCENES}):
        parser.error(f"--fault: got {', '.join(unknown)}, allowed is {', '.join(SCENES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what it has started
    failed = []
    for name in given.fault or SCENES:
        try:
            _picture(name, given.out.resolve(), Viewer(Path(program)), again=given.again)
        except (AssertionError, RuntimeError) as error:
            failed.append(name)
            sys.stderr.write(f"{name}: {error}\n")
    return 1 if failed else 0


def _picture(name: str, out: Path, viewer: Viewer, *, again: bool) -> None:
    recording = Recording(out / "recordings" / name)
    if not again:
        with tempfile.TemporaryDirectory() as directory:
            at_seconds = play(SCENES[name], Path(directory))
            recording.keep(Path(directory), at_seconds)
    with recording.prometheus() as url:
        viewer.draw(OVERVIEW_BOARD, url, out / f"{name}.png", to_seconds=recording.at_seconds, first_screen=True)
    sys.stdout.write(f"{out / name}.png\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
