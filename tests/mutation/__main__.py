"""`make mutate`: makes small changes to the core, one at a time, and reports those that no test notices.

PYTHONPATH=tests python -m mutation token_bucket retry_gate --processes 1
"""

import argparse
import json
import os
import sys
from typing import Final

import pytest

from mutation.changes import MODULES, Change, changes_of
from mutation.survivors import Survivors
from mutation.trial import Trials

_FLOOR: Final = 0.85
_TESTS: Final = ("tests/unit/core", "tests/unit/engine", "tests/unit/stores", "tests/property")
LEFT_OUT: Final = (
    "tests/property/test_invalid_headers.py",
    "tests/property/test_long_live_work.py",
    "tests/unit/stores/valkey/test_replicas.py",
    "tests/unit/core/queue/test_fair_queue.py::test_of_20000_callers_who_came_and_left_nothing_stays",
    "tests/unit/stores/test_live_work.py::test_a_busy_pool_keeps_all_charges_and_reports_of_the_last_minutes",
    "tests/property/dumps/test_dumped_states.py::test_what_a_pool_learns_takes_at_most_32_kilobytes_whatever_the_traffic",
    "tests/property/test_pool_state.py::test_a_dump_is_small_whatever_the_traffic",
    "tests/property/test_pool_state.py::test_a_dump_of_a_busy_pool_is_small",
    "tests/property/test_restart.py::test_after_a_restart_under_load",
)
"""Files and tests that take seconds: long histories and minutes of traffic. Each survivor would run them."""
_PYTEST: Final = (
    *("-q", "-s", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"),
    *("-o", "timeout=0", "-o", "faulthandler_timeout=0", "--tb=no"),
    *(f"--deselect={test}" for test in LEFT_OUT),
)


def main() -> int:
    """Print the share of noticed changes by module, and the survivors that are not listed.

    Return 1 if a module is below 85 % or has an unlisted survivor, or if a listed change no longer exists. A listed
    change counts as a survivor without a trial, because a trial of a survivor runs all tests that reach it.
    """
    names = sorted(MODULES)
    parser = argparse.ArgumentParser("mutate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help="name of a module of the core (all)")
    parser.add_argument(
        "--processes", type=int, default=len(os.sched_getaffinity(0)), help="number of processes (one per CPU)"
    )
    parser.add_argument("--listed", action="store_true", help="try the listed changes too, and print the noticed ones")
    options = parser.parse_args()
    unknown = set(options.modules) - set(names)
    if unknown:
        parser.error(f"module: {', '.join(sorted(unknown))} was given; allowed are {', '.join(names)}")
    good = True
    survivors = Survivors.read()
    changes = {module: changes_of(module) for module in options.modules or names}
    noticed: dict[str, list[tuple[Change, bool]]] = {module: [] for module in changes}

    def note(change: Change, was_noticed: bool) -> None:  # noqa: FBT001
        nonlocal good
        done = noticed[change.module]
        done.append((change, was_noticed))
        if was_noticed and change in survivors:
            good = False
            sys.stdout.write(f"listed, but noticed: {_described(change)}\n")
        if len(done) == len(changes[change.module]):
            good &= _report(change.module, done, survivors)

    tried = []
    for change in (change for of_module in changes.values() for change in of_module):
        if change in survivors and not options.listed:
            note(change, False)  # noqa: FBT003
        else:
            tried.append(change)
    trials = Trials(tried, options.processes, note)
    if pytest.main([*_PYTEST, *_TESTS], plugins=[trials]) != 0:
        return 1
    everything = [result for of_module in noticed.values() for result in of_module]
    gone = survivors.unknown([change for change, _ in everything])
    sys.stdout.write("".join(f"listed, but no longer a change: {where}: {what}\n" for where, what in gone))
    share = sum(was_noticed for _, was_noticed in everything) / max(1, len(everything))
    sys.stdout.write(f"{len(everything)} changes, {share:.1%} noticed\n")
    return 0 if good and not gone else 1


def _report(module: str, done: list[tuple[Change, bool]], survivors: Survivors) -> bool:
    """Print a line for the module, and one for each unlisted survivor."""
    survived = [change for change, was_noticed in done if not was_noticed]
    unlisted = [change for change in survived if change not in survivors]
    share = 1 - len(survived) / len(done)
    sys.stdout.write(
        f"{module:16} {len(done):5} changes {share:7.1%} noticed {len(survived) - len(unlisted):4} listed"
        f" {len(unlisted):4} not listed\n"
    )
    for change in unlisted:
        sys.stdout.write(f"  {_described(change)}\n")
    sys.stdout.flush()
    return not unlisted and share >= _FLOOR


def _described(change: Change) -> str:
    return f"{change.where}:{change.lines.start}: {json.dumps(change.what, ensure_ascii=False)}"


if __name__ == "__main__":
    sys.exit(main())
