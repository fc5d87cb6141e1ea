"""`make prove-quiet`: no alert fires while the service is healthy, under the shipped rules.

PYTHONPATH=tests python -m quiet --minutes 20
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quiet.run import run
from quiet.verdict import report, wrongs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it, and prints what it found. Returns 1 if an alert fired, or one that pages was pending."""
    parser = argparse.ArgumentParser("quiet", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="duration of the load (20)")
    parser.add_argument(
        "--allow", nargs="+", default=(), help="alerts that may fire, such as TidegateOverheadHigh on a busy machine"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        found = run(Path(directory), options.minutes * 60, lambda line: print(line, flush=True))  # noqa: T201 - progress
    wrong = wrongs(found, frozenset(options.allow))
    sys.stdout.write("\n".join([*report(found), *wrong, "" if wrong else "Nothing fired.", ""]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
