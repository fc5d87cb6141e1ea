"""Copies a shared log into a recording. It only reads, so it costs the leader nothing."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.core.domain.errors import UnreadableState
from tidegate.stores.recording.pseudonyms import Pseudonyms
from tidegate.stores.recording.recording_file import Begin, Gap, Part, Recorded, Steps
from tidegate.stores.remote.messages import Steps as SentSteps
from tidegate.stores.valkey.log_fold import Appended, decode_appended, decode_state_of_log
from tidegate.stores.valkey.shared_log import START, Entry, EntryId, SharedLog, StoreLost

__all__ = ["Recorder"]

logger = logging.getLogger("tidegate.store")

_POLL_SECONDS: Final = 0.25
"""The log keeps entries for ten seconds, so a recorder may be late by 40 polls."""
_PART_ENTRIES: Final = 500
_LAST_NUMBER: Final = 2**64 - 1


class Recorder:
    """Reads the last checkpoint and every entry after it, as long as `run` is not cancelled.

    Entries may be removed before they are read: the recorder was paused, or was cut off from the server for more than
    ten seconds. The server may also lose its log. Both leave a gap, and the recording begins again with the next
    checkpoint.

    Args:
        log: that the replicas share.
        write: called with each part of the recording.
        pseudonyms: for the names that nobody should learn from the recording.

    Attributes:
        entries: how many entries were written.
        gaps: why entries are missing, for each gap.
    """

    def __init__(self, log: SharedLog, write: Callable[[Part], None], pseudonyms: Pseudonyms) -> None:
        self._log = log
        self._write = write
        self._pseudonyms = pseudonyms
        self._unwritten: list[Recorded] = []
        self.entries = 0
        self.gaps: list[str] = []

    async def run(self) -> None:
        """Records until it is cancelled. Then everything that was read is written."""
        try:
            while True:
                incarnation, last = await self._begin()
                await self._follow(last)
                self._flush()
                self.gaps.append(await self._reason(incarnation))
                self._write(Gap(self.gaps[-1]))
        finally:
            self._flush()

    async def _begin(self) -> tuple[str, EntryId]:
        """Writes the state of a checkpoint. Returns the incarnation of the log, and the last entry in that state."""
        while True:
            try:
                checkpoint = await self._log.load()
            except StoreLost as error:
                logger.warning("the recording waits for the server: %s", error)
                checkpoint = None
            if checkpoint is not None and checkpoint.folded != START:
                try:
                    state = decode_state_of_log(checkpoint.state)
                except UnreadableState as error:
                    raise UnreadableState(f"a replica of another version leads: {error}") from None
                self._write(Begin(self._pseudonyms.hide(state)))
                return checkpoint.incarnation, checkpoint.folded
            await asyncio.sleep(_POLL_SECONDS)

    async def _follow(self, last: EntryId) -> None:
        """Records the entries after `last`. Returns when entries are missing.

        It asks for the last entry again each time. While the log still has that one, it has all later ones.
        """
        while True:
            try:
                found = await self._log.read(_before(last), 0)
            except StoreLost as error:
                logger.warning("the recording waits for the server: %s", error)
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if not found or found[0].id != last:
                return
            for entry in found[1:]:
                self._take(entry)
            if len(found) > 1:
                last = found[-1].id
                await asyncio.sleep(0)  # to be cancelled
            if len(found) < _PART_ENTRIES:
                self._flush()
                await asyncio.sleep(_POLL_SECONDS)

    def _take(self, entry: Entry) -> None:
        try:
            appended = decode_appended(entry.payload)
        except msgspec.DecodeError:  # every leader skips it as well
            logger.warning("entry %s of the log cannot be read, and is not recorded", entry.id)
            return
        messages = tuple(self._pseudonyms.hide(each) for each in appended.messages if isinstance(each, SentSteps))
        kept = Appended(appended.replica, messages, appended.tick, appended.report)
        self._unwritten.append(Recorded(entry.id.unix_ms, entry.id.number, kept))
        if len(self._unwritten) >= _PART_ENTRIES:
            self._flush()

    def _flush(self) -> None:
        if self._unwritten:
            self._write(Steps(tuple(self._unwritten)))
            self.entries += len(self._unwritten)
            self._unwritten = []

    async def _reason(self, incarnation: str) -> str:
        try:
            checkpoint = await self._log.load()
        except StoreLost:
            checkpoint = None
        if checkpoint is not None and checkpoint.incarnation == incarnation:
            return "entries were removed from the log before they were read"
        return "the server has lost the log"


def _before(entry_id: EntryId) -> EntryId:
    """The largest id below this one."""
    unix_ms, number = entry_id
    return EntryId(unix_ms, number - 1) if number else EntryId(unix_ms - 1, _LAST_NUMBER)
