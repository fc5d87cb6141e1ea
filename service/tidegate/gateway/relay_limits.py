"""How long and how much the relay takes part in: one value object for all bounds that an operator may set."""

from dataclasses import dataclass, fields

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["RelayLimits"]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of the relay; 0 switches off what says so.

    Attributes:
        hold_seconds: how long the head of a stream is held after `message_start`, so that an error can be hidden.
        content_idle_seconds: longest wait for the next piece of content; pings do not count.
        read_on_seconds: how long an answer is read on after its client has left, to learn its exact usage; 0: the
            upstream call is cancelled at once, and what came is charged.
        read_on_calls: most calls that are read on at a time; one more is cancelled.
        comment_seconds: a client that waits for its stream this long is sent a comment, and again each time; its status
            is 200 then, whatever comes; 0: none is sent.
        calls: most calls at a time.
        calls_per_caller: most calls of one caller at a time; 0: as many as in all.
        body_bytes: most bytes of bodies that are held at a time: what waits, or may have to be sent again; 0: no bound.
        body_bytes_per_caller: the same of one caller; 0: as many as in all.
    """

    hold_seconds: float = 0.25
    content_idle_seconds: float = 600.0
    read_on_seconds: float = 0.0
    read_on_calls: int = 100
    comment_seconds: float = 0.0
    calls: int = 10_000
    calls_per_caller: int = 0
    body_bytes: int = 256 * 1024 * 1024
    body_bytes_per_caller: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ConfigurationError(field.name, value, "a number from 0")
