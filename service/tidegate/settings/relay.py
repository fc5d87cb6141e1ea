"""Settings of the relay under `/v1`: how long and how much it takes part in."""

from typing import Annotated

from tidegate.settings.fields import MOST_SECONDS, MOST_UNITS, Count, Documented, Seconds, Timeout
from tidegate.settings.values import Values

__all__ = ["RelaySettings"]

_WAIT = f"a number of seconds, 0 to {MOST_SECONDS:,}"
_TIMEOUT = f"a number of seconds above 0, at most {MOST_SECONDS:,}"
_COUNT = f"a whole number, 1 to {MOST_UNITS:,}"


class RelaySettings(Values):
    """The part of the configuration that the gateway reads."""

    stream_hold_seconds: Annotated[
        Seconds,
        Documented(
            "TIDEGATE_STREAM_HOLD_SECONDS",
            _WAIT,
            "How long the head of a stream is held after `message_start`, so that an error can be repeated unseen.",
        ),
    ] = 0.25
    stream_idle_seconds: Annotated[
        Timeout,
        Documented(
            "TIDEGATE_STREAM_IDLE_SECONDS",
            _TIMEOUT,
            "Longest silence of an answer under way; in a stream, pings count as silence.",
        ),
    ] = 600.0
    read_on_seconds: Annotated[
        Seconds,
        Documented(
            "TIDEGATE_READ_ON_SECONDS",
            _WAIT,
            "How long an answer is read on whose client has left, to learn its exact usage; 0: cancelled at once.",
        ),
    ] = 0.0
    read_on_calls: Annotated[
        Count,
        Documented("TIDEGATE_READ_ON_CALLS", _COUNT, "Most answers that are read on at a time."),
    ] = 100
    stream_comment_seconds: Annotated[
        Seconds,
        Documented(
            "TIDEGATE_STREAM_COMMENT_SECONDS",
            _WAIT,
            "A client that waits this long for its stream is sent a comment, again and again; its status is 200 from "
            "then on, and a failure an `error` event; 0: none.",
        ),
    ] = 0.0
    max_calls: Annotated[
        Count, Documented("TIDEGATE_MAX_CALLS", _COUNT, "Most calls under `/v1` at a time, waiting ones included.")
    ] = 10_000
    max_calls_per_caller: Annotated[
        Count | None,
        Documented(
            "TIDEGATE_MAX_CALLS_PER_CALLER", _COUNT, "Most calls of one caller at a time; default: all of them."
        ),
    ] = None
    max_held_body_bytes: Annotated[
        Count,
        Documented(
            "TIDEGATE_MAX_HELD_BODY_BYTES",
            f"{_COUNT} of bytes",
            "Most that the bodies of Messages calls hold at a time, from their arrival to their answer.",
        ),
    ] = 268_435_456
    max_held_body_bytes_per_caller: Annotated[
        Count | None,
        Documented(
            "TIDEGATE_MAX_HELD_BODY_BYTES_PER_CALLER",
            f"{_COUNT} of bytes",
            "The same of one caller; default: all of it.",
        ),
    ] = None
    queue_requests: Annotated[
        Count, Documented("TIDEGATE_QUEUE_REQUESTS", _COUNT, "Most requests that wait for a pool at a time.")
    ] = 10_000
    queue_requests_per_caller: Annotated[
        Count | None,
        Documented("TIDEGATE_QUEUE_REQUESTS_PER_CALLER", _COUNT, "The same of one caller; default: all of them."),
    ] = None
    queue_tokens: Annotated[
        Count | None,
        Documented("TIDEGATE_QUEUE_TOKENS", _COUNT, "Most tokens, by estimate, that wait for a pool; default: no cap."),
    ] = None
    queue_tokens_per_caller: Annotated[
        Count | None,
        Documented("TIDEGATE_QUEUE_TOKENS_PER_CALLER", _COUNT, "The same of one caller; default: no cap."),
    ] = None
    max_header_bytes: Annotated[
        Count,
        Documented(
            "TIDEGATE_MAX_HEADER_BYTES",
            f"{_COUNT} of bytes",
            "Largest head of a request; a larger one is answered with 431.",
        ),
    ] = 65_536
    header_seconds: Annotated[
        Timeout,
        Documented(
            "TIDEGATE_HEADER_SECONDS", _TIMEOUT, "Longest time from the first to the last byte of a request's head."
        ),
    ] = 30.0
    body_idle_seconds: Annotated[
        Timeout,
        Documented(
            "TIDEGATE_BODY_IDLE_SECONDS",
            _TIMEOUT,
            "Longest silence within a request's body; then it is answered with 408.",
        ),
    ] = 60.0
    slow_client_seconds: Annotated[
        Timeout,
        Documented(
            "TIDEGATE_SLOW_CLIENT_SECONDS",
            _TIMEOUT,
            "How long an answer may wait for a client that does not read: a Messages call in all, others at a time.",
        ),
    ] = 120.0
