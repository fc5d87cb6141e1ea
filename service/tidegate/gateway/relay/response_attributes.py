"""What the scopes of a question and of its last attempt say of the answer."""

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.observer import Scope
from tidegate.core.ports.span_attributes import (
    ERROR_TYPE,
    FINISH_REASON,
    RESPONSE_ID,
    RESPONSE_MODEL,
    STATUS,
    STREAMED,
    TIME_TO_FIRST_CHUNK,
    set_usage,
)
from tidegate.gateway.relay.response_start import ResponseStart

__all__ = ["describe_answer"]


def describe_answer(
    chat: Scope, attempt: Scope, answer: ResponseStart, usage: Usage | None, *, asked_ns: int, failure: str | None
) -> None:
    """Tells the scopes how it went.

    Args:
        chat: of the question.
        attempt: of the attempt that was answered.
        answer: the answer, as far as it came.
        usage: what it used, if that is known.
        asked_ns: when the question was asked, on the monotonic clock.
        failure: what kind of failure it came to; None if it is whole.
    """
    if answer.first_token_ns is not None:
        chat.set(STREAMED, True)  # noqa: FBT003 - a value like any other
        chat.set(TIME_TO_FIRST_CHUNK, to_seconds(answer.first_token_ns - asked_ns))
    if usage is not None:
        set_usage(chat, usage)
    for name, value in zip((RESPONSE_ID, RESPONSE_MODEL, FINISH_REASON), answer.reader.metadata, strict=True):
        if value:
            chat.set(name, value)
    attempt.set(STATUS, answer.response.status)
    if failure is not None:
        for scope in (attempt, chat):
            scope.set(ERROR_TYPE, failure)
