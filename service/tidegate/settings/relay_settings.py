"""Settings of the relay under `/v1`: timeouts and caps."""

from typing import Annotated

from tidegate.settings.fields.field_docs import FieldDoc, SettingsModel
from tidegate.settings.fields.field_types import COUNT_TEXT, TIMEOUT_TEXT, WAIT_TEXT, Count, Seconds, Timeout

__all__ = ["RelaySettings"]


class RelaySettings(SettingsModel):
    """Timeouts and caps of the gateway and of client connections."""

    stream_hold_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_STREAM_HOLD_SECONDS",
            WAIT_TEXT,
            "How long the start of a stream is held after `message_start`, so that an early error can be retried.",
        ),
    ] = 0.25
    stream_idle_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_STREAM_IDLE_SECONDS",
            TIMEOUT_TEXT,
            "Longest silence within an upstream response; in a stream, pings count as silence.",
        ),
    ] = 600.0
    read_on_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_READ_ON_SECONDS",
            WAIT_TEXT,
            "How long a response is still read after its client left, to learn the exact usage; 0: cancelled at once.",
        ),
    ] = 0.0
    read_on_calls: Annotated[
        Count,
        FieldDoc("TIDEGATE_READ_ON_CALLS", COUNT_TEXT, "Maximum number of responses read after their clients left."),
    ] = 100
    stream_comment_seconds: Annotated[
        Seconds,
        FieldDoc(
            "TIDEGATE_STREAM_COMMENT_SECONDS",
            WAIT_TEXT,
            "When a client that waits for its stream is sent the first SSE comment to keep it alive; the next ones "
            "follow every 15 s, or as often if that is less. Its status is then 200, and a failure is an `error` "
            "event; 0: none.",
        ),
    ] = 45.0
    stream_wait_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_STREAM_WAIT_SECONDS",
            TIMEOUT_TEXT,
            "How long a stream that is kept alive by comments may wait for its beginning, where the client's SDK would "
            "wait for its default of 10 minutes.",
        ),
    ] = 1_800.0
    max_calls: Annotated[
        Count,
        FieldDoc("TIDEGATE_MAX_CALLS", COUNT_TEXT, "Maximum concurrent calls under `/v1`, including waiting ones."),
    ] = 10_000
    max_calls_per_caller: Annotated[
        Count | None,
        FieldDoc(
            "TIDEGATE_MAX_CALLS_PER_CALLER", COUNT_TEXT, "Maximum concurrent calls of one caller; default: all of them."
        ),
    ] = None
    max_held_body_bytes: Annotated[
        Count,
        FieldDoc(
            "TIDEGATE_MAX_HELD_BODY_BYTES",
            f"{COUNT_TEXT} of bytes",
            "Memory limit for Messages bodies, from their arrival to their response.",
        ),
    ] = 268_435_456
    max_held_body_bytes_per_caller: Annotated[
        Count | None,
        FieldDoc(
            "TIDEGATE_MAX_HELD_BODY_BYTES_PER_CALLER",
            f"{COUNT_TEXT} of bytes",
            "The same limit for one caller; default: all of it.",
        ),
    ] = None
    queue_requests: Annotated[
        Count, FieldDoc("TIDEGATE_QUEUE_REQUESTS", COUNT_TEXT, "Maximum number of requests waiting for a pool.")
    ] = 10_000
    queue_requests_per_caller: Annotated[
        Count | None,
        FieldDoc(
            "TIDEGATE_QUEUE_REQUESTS_PER_CALLER", COUNT_TEXT, "The same limit for one caller; default: all of them."
        ),
    ] = None
    queue_tokens: Annotated[
        Count | None,
        FieldDoc("TIDEGATE_QUEUE_TOKENS", COUNT_TEXT, "Maximum estimated tokens waiting for a pool; default: no cap."),
    ] = None
    queue_tokens_per_caller: Annotated[
        Count | None,
        FieldDoc("TIDEGATE_QUEUE_TOKENS_PER_CALLER", COUNT_TEXT, "The same limit for one caller; default: no cap."),
    ] = None
    max_header_bytes: Annotated[
        Count,
        FieldDoc(
            "TIDEGATE_MAX_HEADER_BYTES",
            f"{COUNT_TEXT} of bytes",
            "Maximum size of a request's head; a larger one gets a 431.",
        ),
    ] = 65_536
    header_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_HEADER_SECONDS", TIMEOUT_TEXT, "Timeout for receiving a request's head, from its first byte."
        ),
    ] = 30.0
    body_idle_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_BODY_IDLE_SECONDS",
            TIMEOUT_TEXT,
            "Longest silence within a request's body; a longer one gets a 408.",
        ),
    ] = 60.0
    slow_client_seconds: Annotated[
        Timeout,
        FieldDoc(
            "TIDEGATE_SLOW_CLIENT_SECONDS",
            TIMEOUT_TEXT,
            "How long a response may wait for a client that does not read: in total for a Messages call, per pause for "
            "others.",
        ),
    ] = 120.0
