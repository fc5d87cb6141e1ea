"""Sockets, files, memory and CPU time of a process, from Linux."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_STATES = {"01": "established", "08": "close-wait", "0A": "listening"}
"""From Linux's `tcp_states.h`; all other states are closing."""


@dataclass(frozen=True)
class Sockets:
    """TCP sockets of a process by state, for inbound and outbound connections."""

    inbound: Counter[str]
    outbound: Counter[str]


def sockets_of(pid: int) -> Sockets:
    """The present TCP sockets of a process."""
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # closed in the meantime
        if found := re.fullmatch(r"socket:\[(\d+)\]", target):
            held.add(found[1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    own = [(row[1].split(":")[1], _STATES.get(row[3], "closing")) for row in rows if row[9] in held]
    listening = {port for port, state in own if state == "listening"}
    return Sockets(
        inbound=Counter(state for port, state in own if port in listening and state != "listening"),
        outbound=Counter(state for port, state in own if port not in listening),
    )


def descriptors_of(pid: int) -> int:
    """Number of open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    """CPU time used so far, by user code and system calls of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid: int) -> int:
    """Resident memory in KiB."""
    return _memory_kb(pid, "VmRSS")


def peak_kb(pid: int) -> int:
    """Peak resident memory in KiB."""
    return _memory_kb(pid, "VmHWM")


def _memory_kb(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
