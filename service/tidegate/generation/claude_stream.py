"""Sends one attempt to Claude through the SDK and receives its streamed answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.core.claude.failures import FAIR_SECONDS
from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.domain.usage import Usage, reports_output
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.generation.model import Question

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import MessageDeltaUsage
    from anthropic.types import Usage as MessageUsage

__all__ = ["ReceivedAnswer", "receive_answer"]


@dataclass(slots=True)
class ReceivedAnswer:
    """The part of an answer that has arrived.

    Attributes:
        opened: whether the response headers have arrived.
        started: whether the message has started.
        text: the text so far.
        unreported_bytes: the size of the text after the last usage report.
        stop_reason: why the model stopped; None if the answer is not complete.
        model: the id of the model that answers.
        usage: the usage so far, as reported.
        usage_is_odd: whether a report was impossible, or missing in a complete answer.
        first_token_ns: the time from the start of the attempt to the first text.
    """

    opened: bool = False
    started: bool = False
    text: str = ""
    unreported_bytes: int = 0
    stop_reason: str | None = None
    model: str = ""
    usage: Usage = Usage()  # noqa: RUF009  # immutable
    usage_is_odd: bool = False
    first_token_ns: int | None = None

    def update_usage(
        self, usage: "MessageUsage | MessageDeltaUsage", question: Question, *, final: bool = False
    ) -> None:
        """Updates the usage, with impossible figures corrected. Without a final report the output is unknown."""
        self.started, self.unreported_bytes = True, 0
        fields = usage.model_dump()
        reported = Usage.from_json(fields, self.usage)
        if final and not reports_output(fields):
            reported = reported._replace(output_tokens=0)
        self.usage = reported.possible(question.max_tokens)
        self.usage_is_odd |= reported != self.usage or Usage.is_odd(fields)

    def append_text(self, text: str) -> None:
        """Appends a piece of text."""
        self.text += text
        self.unreported_bytes += len(text.encode())

    def estimated_usage(self, model: str, estimator: CostEstimator) -> Usage | None:
        """Returns the estimated usage of an answer that broke off, or None if it had not started."""
        return estimator.produced(model, self.usage, self.unreported_bytes) if self.started else None


async def receive_answer(
    client: "AsyncAnthropic",
    question: Question,
    answer: ReceivedAnswer,
    *,
    timeout_seconds: float,
    wall_seconds: Callable[[], float],
    trace_headers: Mapping[str, str],
    on_headers: Callable[[Mapping[str, str]], Awaitable[None]],
    on_text: Callable[[], None],
) -> None:
    """Sends a question and receives the answer into `answer`.

    Args:
        client: the SDK's client.
        question: the question.
        answer: filled as the answer arrives, also if it breaks off.
        timeout_seconds: the time until the answer must be complete.
        wall_seconds: the wall clock.
        trace_headers: headers to send.
        on_headers: called with the response headers.
        on_text: called after each piece of text.

    Raises:
        UpstreamError: there is no complete answer.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await _stream(client, question, answer, trace_headers, on_headers, on_text)
    except TimeoutError:
        raise UpstreamUnreachable(
            f"no complete answer within the {timeout_seconds:.1f} s that were left",
            may_have_been_accepted=True,
            out_of_time=True,
            is_hasty=timeout_seconds < FAIR_SECONDS,
        ) from None
    except UpstreamError:
        raise
    except Exception as error:
        # The SDK takes long to import. At this point it is loaded already.
        from tidegate.generation.sdk_errors import SDK_ERRORS, as_upstream_error  # noqa: PLC0415

        if not isinstance(error, SDK_ERRORS):
            raise
        raise as_upstream_error(error, wall_seconds()) from error


async def _stream(
    client: "AsyncAnthropic",
    question: Question,
    answer: ReceivedAnswer,
    trace_headers: Mapping[str, str],
    on_headers: Callable[[Mapping[str, str]], Awaitable[None]],
    on_text: Callable[[], None],
) -> None:
    parameters = _parameters(question)
    async with await client.messages.create(**parameters, stream=True, extra_headers=trace_headers) as stream:
        answer.opened = True
        await on_headers(dict(stream.response.headers))
        async for event in stream:
            if event.type == "message_start":
                answer.model = event.message.model
                answer.update_usage(event.message.usage, question)
            elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                answer.append_text(event.delta.text)
                on_text()
            elif event.type == "message_delta":
                answer.update_usage(event.usage, question, final=True)
                answer.stop_reason = event.delta.stop_reason
    if answer.stop_reason is None:
        raise UpstreamUnreachable("the answer ended before it was complete", may_have_been_accepted=True)
    answer.usage_is_odd |= not (answer.usage.all_input_tokens and answer.usage.output_tokens)


def _parameters(question: Question) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "model": question.model,
        "max_tokens": question.max_tokens,
        "system": [{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}],
        "messages": list(question.messages),
    }
    if question.schema is not None:
        parameters["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
    return parameters
