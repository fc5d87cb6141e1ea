"""The limits of the relay that an operator may set."""

from dataclasses import dataclass, fields

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["RelayLimits"]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Limits of the relay.

    Attributes:
        hold_seconds: how long the head of a stream is delayed after `message_start`, so that an early error can be
            retried.
        content_idle_seconds: longest wait for the next piece of content; pings are not content.
        read_on_seconds: how long a response is read on for its exact usage, after its client has disconnected; 0: the
            upstream request is canceled at once, and the bytes so far are charged.
        read_on_calls: calls that are read on at a time; further ones are canceled.
        comment_seconds: when a client that waits for a stream is sent the first comment; the next ones follow every
            15 s, or as often if that is less. After the first its status is 200 in any case; 0: no comments.
        stream_wait_seconds: how long a stream that is kept alive by comments may wait for its beginning, if its client
            sets no shorter limit than SDKs do by default.
        calls: calls at a time.
        calls_per_caller: calls of one caller at a time; 0: no separate limit.
        body_bytes: bytes of request bodies in memory, of calls that wait or may be sent again; 0: no limit.
        body_bytes_per_caller: the same per caller; 0: no separate limit.
    """

    hold_seconds: float = 0.25
    content_idle_seconds: float = 600.0
    read_on_seconds: float = 0.0
    read_on_calls: int = 100
    comment_seconds: float = 0.0
    stream_wait_seconds: float = 1_800.0
    calls: int = 10_000
    calls_per_caller: int = 0
    body_bytes: int = 256 * 1024 * 1024
    body_bytes_per_caller: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ConfigurationError(field.name, value, "a number from 0")
