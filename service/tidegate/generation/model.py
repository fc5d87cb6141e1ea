"""The seam between the generator and whatever asks a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.usage import Usage
from tidegate.generation.request import OnProgress, Tally

__all__ = ["LanguageModel", "ModelAnswer", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a model.

    Attributes:
        model: id of the model.
        system: system prompt; cached upstream.
        messages: the conversation, alternating, ending with the user.
        schema: structured output that the answer has to follow; None: free text.
        max_tokens: upper bound of the answer.
        caller: on whose account.
        deadline_ns: when it must be done, on the monotonic clock.
        session: the caller's session that the question belongs to.
        session_front: goes ahead of other requests of that session, because it continues its work.
    """

    model: str
    system: str
    messages: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None
    max_tokens: int
    caller: Caller
    deadline_ns: int
    session: str = ""
    session_front: bool = False


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back, and what this answer took by itself."""

    text: str
    stop_reason: str | None
    model: str
    usage: Usage
    attempts: int


class LanguageModel(Protocol):
    """Asks a model, under the limiter and with retries."""

    async def ask(self, question: Question, on_progress: OnProgress, tally: Tally) -> ModelAnswer:
        """Asks until there is an answer. Adds to the tally what each attempt takes, also if it fails.

        Raises:
            Refusal: Tidegate did not admit the call.
            UpstreamError: the upstream refused for good.
            RetriesExhausted: every attempt failed, or the time ran out.
        """
        ...
