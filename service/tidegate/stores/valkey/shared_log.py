"""The protocol of the shared log, and the values that it carries.

Every replica appends entries to one log, and reads its own mailbox. One replica at a time holds the lead: it reads the
log, and publishes results to mailboxes. A checkpoint replaces the start of the log.

The lead has an epoch, a random name. A message or state of a leader takes effect only while its epoch holds the lead:
the server compares both in one step. So a leader that was paused cannot overwrite what its successor wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

__all__ = ["START", "Checkpoint", "Entry", "EntryId", "LostLead", "Message", "SharedLog", "StoreLost", "first_kept"]


class EntryId(NamedTuple):
    """The id of an entry: the server's time when it was appended, and a number among those of the same millisecond.

    Ids of one stream only grow, also when the server's clock is set back.
    """

    unix_ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.unix_ms}-{self.number}"


START = EntryId(0, 0)
"""Before the first entry."""

_KEPT_MS: Final = 10_000
"""The log keeps the entries of this time before a checkpoint, so that a recorder has time to read them."""


def first_kept(folded: EntryId) -> EntryId:
    """The oldest entry that the log keeps behind a checkpoint of all entries up to `folded`."""
    return EntryId(max(0, folded.unix_ms - _KEPT_MS), 0)


class Entry(Struct, frozen=True):
    """An entry of the log."""

    id: EntryId
    payload: bytes


class Message(Struct, frozen=True):
    """An entry of a replica's mailbox, with the epoch of the leader that published it."""

    id: EntryId
    epoch: str
    payload: bytes


class Checkpoint(Struct, frozen=True, array_like=True):
    """The state of the fold.

    Attributes:
        incarnation: random name of the log, made with its first checkpoint. Another one means that the old log is lost.
        folded: the last entry that the state contains.
        state: the dump.
    """

    incarnation: str
    folded: EntryId
    state: bytes


class StoreLost(ConnectionError):
    """The server did not answer in time, or refused a command. The command may have had an effect."""


class LostLead(Exception):
    """Another epoch holds the lead, or none. Nothing was written."""


class SharedLog(Protocol):
    """A log on a server. Each method is one round trip, and raises `StoreLost`."""

    async def ping(self) -> None:
        """Writes something small, so that a server that refuses writes does not count as there."""
        ...

    async def append(self, payload: bytes) -> EntryId:
        """Appends an entry to the log."""
        ...

    async def read(self, after: EntryId, wait_seconds: float) -> Sequence[Entry]:
        """The next entries of the log, oldest first. Waits for the first; empty if none comes in that time."""
        ...

    async def receive(self, replica: str, after: EntryId, wait_seconds: float) -> Sequence[Message]:
        """The next messages in a replica's mailbox, as `read`."""
        ...

    async def take_lead(self, epoch: str, seconds: float) -> bool:
        """Takes the lead for this time, if nobody has it."""
        ...

    async def keep_lead(self, epoch: str, seconds: float) -> None:
        """Prolongs the lead.

        Raises:
            LostLead: it has ended.
        """
        ...

    async def give_up_lead(self, epoch: str) -> None:
        """Ends the lead, so that another replica takes it at once. No effect if it has ended."""
        ...

    async def publish(self, epoch: str, messages: Mapping[str, bytes]) -> None:
        """Appends messages to mailboxes, by the name of the replica. The server removes a mailbox ten minutes after.

        Raises:
            LostLead: the epoch does not hold the lead.
        """
        ...

    async def save(self, epoch: str, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint, and removes the entries before `first_kept` from the log.

        Raises:
            LostLead: the epoch does not hold the lead.
        """
        ...

    async def load(self) -> Checkpoint | None:
        """The last checkpoint; None if there is none."""
        ...

    async def last(self) -> EntryId:
        """The last entry that was ever appended, also if it was removed since; `START` if there is no log.

        An id before one that was seen earlier means that the server has lost the end of the log, or all of it.
        """
        ...
