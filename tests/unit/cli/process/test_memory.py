"""A server process uses the freed memory of large bodies again."""

import ctypes
import os
import sys

import pytest

from support.programs import output_of
from tidegate.cli.process.memory import keep_freed_memory

_BODIES = """
import resource
from tidegate.cli.process.memory import keep_freed_memory
{call}
def faults():
    for _ in range(100):
        bodies = [bytes(300_000) for _ in range(16)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


def faults_of_many_bodies(call: str) -> int:
    """Counts the pages that the kernel clears for 1,600 bodies of 300 KB, which have 73 each, after as many before."""
    plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    return int(output_of(sys.executable, "-c", _BODIES.format(call=call), env=plain))


def test_memory_of_large_bodies_is_used_again() -> None:
    assert faults_of_many_bodies("keep_freed_memory({})") < 1_000


def test_it_would_not_be_by_itself() -> None:
    assert faults_of_many_bodies("") > 10_000
    assert faults_of_many_bodies('keep_freed_memory({"MALLOC_TRIM_THRESHOLD_": "131072"})') > 10_000


@pytest.mark.parametrize("missing", [OSError, AttributeError, TypeError])
def test_where_there_is_no_glibc_nothing_happens(missing: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(_: object) -> object:
        raise missing

    monkeypatch.setattr(ctypes, "CDLL", raises)
    keep_freed_memory({})
