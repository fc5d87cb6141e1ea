"""The channel of a follower over the shared log."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.stores.remote.messages import Message, Results
from tidegate.stores.valkey.log_fold import Appended, encode_appended
from tidegate.stores.valkey.shared_log import START, SharedLog, StoreLost
from tidegate.stores.valkey.shared_log import Message as Entry
from tidegate.stores.valkey.task_end import end_tasks

__all__ = ["LogChannel", "decode_messages", "encode_messages"]

logger = logging.getLogger("tidegate.store")

_HEARTBEAT_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.1
_SILENT_SECONDS: Final = 3.0
"""A leader reports every second. After a longer silence the ids of the mailbox may have gone back."""
_MOST_MESSAGES: Final = 1_000
"""In one entry."""

_DECODER: Final[msgspec.msgpack.Decoder[tuple[Message, ...]]] = msgspec.msgpack.Decoder(tuple[Message, ...])


def encode_messages(messages: list[Message]) -> bytes:
    """The payload of a mailbox's entry."""
    return msgspec.msgpack.encode(messages)


def decode_messages(payload: bytes) -> tuple[Message, ...]:
    """Decodes the payload of `encode_messages`.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return _DECODER.decode(payload)


class LogChannel:
    """Implements `Channel`: appends a follower's messages to the log, and reads its mailbox.

    Messages that come while an entry is on its way share the next entry. An entry that got no answer is appended again.
    Once per second an entry says that the replica is alive, also without messages.

    Args:
        log: shared by all replicas.
        replica: name of this one.
        receive: called with each message of the leader, in order. Results that were received before are left out: a new
            leader repeats those of the entries that it folds again.
    """

    def __init__(self, log: SharedLog, replica: str, receive: Callable[[Message], None]) -> None:
        self._log = log
        self._replica = replica
        self._receive = receive
        self._unsent: list[Message] = []
        self._something_to_send = asyncio.Event()
        self._serial = 0
        self._is_closed = self._is_paused = False

    def send(self, message: Message) -> None:
        """As `Channel.send`. Without effect while it is paused."""
        if self._is_paused:
            return
        self._unsent.append(message)
        self._something_to_send.set()

    @property
    def serial(self) -> int:
        """The serial of the last results that were received."""
        return self._serial

    def pause(self) -> None:
        """Drops what was not appended, and appends nothing until `resume`, so that the replica is not thought there."""
        self._is_paused = True
        self._unsent.clear()

    def resume(self) -> None:
        """Appends messages again."""
        self._is_paused = False
        self._something_to_send.set()

    def close(self) -> None:
        """Lets `run` return once everything is sent."""
        self._is_closed = True
        self._something_to_send.set()

    async def run(self) -> None:
        """Sends and receives until `close`."""
        receiving = asyncio.create_task(self._receive_messages())
        try:
            await self._append_messages()
        finally:
            await end_tasks([receiving])

    async def _append_messages(self) -> None:
        while self._unsent or not self._is_closed:
            if not self._unsent:
                await _within(self._something_to_send, _HEARTBEAT_SECONDS)
            self._something_to_send.clear()
            if self._is_paused:
                continue
            messages, self._unsent = self._unsent[:_MOST_MESSAGES], self._unsent[_MOST_MESSAGES:]
            await self._append(encode_appended(Appended(self._replica, tuple(messages))))

    async def _append(self, payload: bytes) -> None:
        while not self._is_paused:
            try:
                await self._log.append(payload)
            except StoreLost as error:
                logger.debug("an entry is appended again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _receive_messages(self) -> None:
        after, loop = START, asyncio.get_running_loop()
        heard_at = loop.time()
        while True:
            try:
                entries = await self._log.receive(self._replica, after, _WAIT_SECONDS)
            except StoreLost:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if entries:
                heard_at = loop.time()
            elif loop.time() - heard_at > _SILENT_SECONDS:
                after, heard_at = START, loop.time()  # what comes again does no harm
            for entry in entries:
                after = entry.id
                self._take_in(entry)

    def _take_in(self, entry: Entry) -> None:
        try:
            for message in decode_messages(entry.payload):
                self._pass_on(message)
        except Exception:  # without this task the replica would never hear of the leader again
            logger.exception("entry %s of the mailbox is skipped", entry.id)

    def _pass_on(self, message: Message) -> None:
        if isinstance(message, Results):
            if message.serial <= self._serial:
                return
            self._serial = message.serial
        self._receive(message)


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
