"""The shared log on a Valkey or Redis server, behind Sentinel, or in a cluster."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from valkey.exceptions import ResponseError, ValkeyClusterException, ValkeyError

from tidegate.core.ports.store_address import StoreAddress
from tidegate.stores.valkey.connection import connect
from tidegate.stores.valkey.shared_log import (
    START,
    Checkpoint,
    Entry,
    EntryId,
    LostLead,
    Message,
    StoreLost,
    first_kept,
)

__all__ = ["ValkeyLog"]

T = TypeVar("T")

_MOST_ENTRIES: Final = 500_000
"""Bounds the log's memory while no leader trims it."""
_MOST_MESSAGES: Final = 20_000
_MAILBOX_MS: Final = 600_000
_UNREADABLE: Final = "unreadable"
"""The incarnation of a checkpoint that was not written by a replica."""
_BATCH: Final = 1_000
"""Entries per read."""

# Scripts, because comparing the epoch and writing must be one step. KEYS[1] is the lead.
_KEEP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_GIVE_UP: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
_PUBLISH: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[1], 'p', ARGV[i + 2])
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
end
return 1
"""
_SAVE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[3])
return 1
"""


class ValkeyLog:
    """Implements `SharedLog`. All keys of a prefix are in one slot of a cluster.

    Args:
        address: of the server.
        timeout_seconds: for each command, beyond the time that it waits for entries.
        longest_wait_seconds: the largest `wait_seconds`.
    """

    def __init__(self, address: StoreAddress, timeout_seconds: float, longest_wait_seconds: float = 1.0) -> None:
        self._client = connect(address, timeout_seconds)
        self._reader = connect(address, timeout_seconds + longest_wait_seconds)
        tagged = f"{{{address.prefix}}}"
        self._log, self._lead, self._checkpoint = f"{tagged}:log", f"{tagged}:lead", f"{tagged}:checkpoint"
        self._pinged = f"{tagged}:ping"
        self._mailboxes = f"{tagged}:mailbox:"
        self._keep, self._give_up, self._publish, self._save = (
            self._client.register_script(each) for each in (_KEEP, _GIVE_UP, _PUBLISH, _SAVE)
        )

    async def ping(self) -> None:
        """As `SharedLog.ping`."""
        await _answer(self._client.set(self._pinged, "", px=_MAILBOX_MS))

    async def append(self, payload: bytes) -> EntryId:
        """As `SharedLog.append`."""
        return _id(await _answer(self._client.xadd(self._log, {"p": payload}, maxlen=_MOST_ENTRIES)))

    async def read(self, after: EntryId, wait_seconds: float) -> Sequence[Entry]:
        """As `SharedLog.read`."""
        entries = await self._next(self._log, after, wait_seconds)
        return [Entry(_id(name), fields.get(b"p", b"")) for name, fields in entries]

    async def receive(self, replica: str, after: EntryId, wait_seconds: float) -> Sequence[Message]:
        """As `SharedLog.receive`."""
        entries = await self._next(self._mailboxes + replica, after, wait_seconds)
        return [
            Message(_id(name), fields.get(b"e", b"").decode(errors="replace"), fields.get(b"p", b""))
            for name, fields in entries
        ]

    async def _next(self, stream: str, after: EntryId, wait_seconds: float) -> list[tuple[bytes, dict[bytes, bytes]]]:
        block_ms = round(wait_seconds * 1_000) or None  # 0 would block without end
        answer = await _answer(self._reader.xread({stream: str(after)}, count=_BATCH, block=block_ms))
        return answer[0][1] if answer else []

    async def take_lead(self, epoch: str, seconds: float) -> bool:
        """As `SharedLog.take_lead`."""
        return bool(await _answer(self._client.set(self._lead, epoch, nx=True, px=_ms(seconds))))

    async def keep_lead(self, epoch: str, seconds: float) -> None:
        """As `SharedLog.keep_lead`."""
        await self._fenced(self._keep([self._lead], [epoch, _ms(seconds)]))

    async def give_up_lead(self, epoch: str) -> None:
        """As `SharedLog.give_up_lead`."""
        await _answer(self._give_up([self._lead], [epoch]))

    async def publish(self, epoch: str, messages: Mapping[str, bytes]) -> None:
        """As `SharedLog.publish`."""
        keys = [self._lead, *(self._mailboxes + replica for replica in messages)]
        await self._fenced(self._publish(keys, [epoch, _MOST_MESSAGES, _MAILBOX_MS, *messages.values()]))

    async def save(self, epoch: str, checkpoint: Checkpoint) -> None:
        """As `SharedLog.save`."""
        encoded = msgspec.msgpack.encode(checkpoint)
        keys = [self._lead, self._checkpoint, self._log]
        await self._fenced(self._save(keys, [epoch, encoded, str(first_kept(checkpoint.folded))]))

    async def load(self) -> Checkpoint | None:
        """As `SharedLog.load`."""
        encoded = await _answer(self._client.get(self._checkpoint))
        if encoded is None:
            return None
        try:
            return msgspec.msgpack.decode(encoded, type=Checkpoint)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Checkpoint(_UNREADABLE, START, encoded)  # its state cannot be read either

    async def last(self) -> EntryId:
        """As `SharedLog.last`."""
        try:
            about = await self._client.xinfo_stream(self._log)
        except ResponseError as error:
            if "no such key" in str(error):
                return START
            raise StoreLost(str(error)) from error
        except (ValkeyError, ValkeyClusterException, OSError) as error:
            raise StoreLost(str(error)) from error
        return _id(about["last-generated-id"])

    async def _fenced(self, script: Awaitable[Any]) -> None:
        if not await _answer(script):
            raise LostLead

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()
        await self._reader.aclose()


async def _answer(command: Awaitable[T]) -> T:
    """The answer to a command.

    Raises:
        StoreLost: there is none, or the server refuses the command.
    """
    try:
        return await command
    except (ValkeyError, ValkeyClusterException, OSError) as error:
        raise StoreLost(str(error) or type(error).__name__) from error


def _id(name: bytes) -> EntryId:
    unix_ms, _, number = name.partition(b"-")
    return EntryId(int(unix_ms), int(number))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
