"""The messages between followers and their leader, and the protocol of the channel that carries them."""

from typing import Final, Protocol

import msgspec
from msgspec import Struct

from tidegate.core.domain.budget import BudgetSnapshot
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.ports.store import Change
from tidegate.stores.steps import Answer, Batch
from tidegate.stores.store_state import ConfiguredState

__all__ = [
    "Ask",
    "Channel",
    "LogStatus",
    "Message",
    "Report",
    "Results",
    "SettingsInEffect",
    "Steps",
    "Told",
    "decode_message",
    "encode_message",
]


class Steps(Struct, frozen=True, array_like=True, tag=True):
    """Steps of a replica, for the leader."""

    batch: Batch

    @property
    def replica(self) -> str:
        """The replica whose steps these are."""
        return self.batch.replica


class Ask(Struct, frozen=True, array_like=True, tag=True):
    """A replica asks how much longer one of its requests waits. It may get no reply."""

    replica: str
    pool: str
    lease_id: str


class Results(Struct, frozen=True, array_like=True, tag=True):
    """The effects of steps on one replica.

    Attributes:
        replica: that they are for.
        serial: counts the results that the replica was sent, from 1, so that it notices lost ones.
        number: as in `Folded`: all steps up to this one are folded.
        answers: to its steps.
        changes: grants and refusals of its waiters. They happened after the answers, or in the same step.
    """

    replica: str
    serial: int
    number: int
    answers: tuple[Answer, ...] = ()
    changes: tuple[Change, ...] = ()


class Told(Struct, frozen=True, array_like=True, tag=True):
    """The reply to `Ask`; None if the request does not wait."""

    replica: str
    lease_id: str
    left: WaitLeft | None


class SettingsInEffect(Struct, frozen=True, array_like=True):
    """The settings of all pools: those by configuration, and those that were set at runtime in their place."""

    configured: dict[str, PoolSettings]
    otherwise: PoolSettings
    at_runtime: tuple[ConfiguredState, ...] = ()


class LogStatus(Struct, frozen=True, array_like=True):
    """The state of a shared log.

    Attributes:
        incarnation: its random name. Another one means that the log was lost and began anew.
        now_ns: its time.
        replicas: how many replicas take part.
        leader_changes: how often another replica has taken the lead.
        settings: of all pools.
    """

    incarnation: str
    now_ns: int
    replicas: int
    leader_changes: int
    settings: SettingsInEffect


class Report(Struct, frozen=True, array_like=True, tag=True):
    """The state of all pools, sent about once per second.

    Attributes:
        replica: that it is for.
        serial: of the last results that this replica was sent.
        pools: all pools.
        queues: the pools that somebody waits for.
        number: all steps of the replica up to this one are folded.
        log: the state of the log, if the leader reads one.
        budgets: what is left of all budgets.
    """

    replica: str
    serial: int
    pools: tuple[PoolSnapshot, ...]
    queues: tuple[QueueSnapshot, ...]
    number: int = 0
    log: LogStatus | None = None
    budgets: tuple[BudgetSnapshot, ...] = ()

    def is_newer_than(self, known: "Report | None") -> bool:
        """Whether it says more than a known report: a new leader, or a mailbox that is read again, repeats some."""
        log, before = self.log, None if known is None else known.log
        return log is None or before is None or log.incarnation != before.incarnation or log.now_ns > before.now_ns


Message = Steps | Ask | Results | Told | Report
"""Everything that a channel carries. Each message belongs to one replica."""


class Channel(Protocol):
    """Carries messages to the other side, which are received there one by one.

    A channel may delay, lose and repeat messages: a follower sends again what it got no answer to, and the fold ignores
    what it has folded before. It should keep their order, because steps after a gap are folded only when they come
    again. It does not say whether a message has arrived. Once it is known that none arrives any more, both sides are
    told so (`lost`).
    """

    def send(self, message: Message) -> None:
        """Sends a message, without waiting for anything. Never fails."""
        ...

    def close(self) -> None:
        """Ends the channel after what was sent. Both sides are told."""
        ...


_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The message as bytes."""
    return msgspec.msgpack.encode(message)


def decode_message(data: bytes) -> Message:
    """The message that `encode_message` has encoded.

    Raises:
        msgspec.DecodeError: the data is no message.
    """
    return _DECODER.decode(data)
