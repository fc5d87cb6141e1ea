"""The interface between the generator and a language model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.usage import Usage
from tidegate.generation.request import OnProgress, Tally

__all__ = ["LanguageModel", "ModelAnswer", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to a model.

    Attributes:
        model: the id of the model.
        system: the system prompt, which the upstream caches.
        messages: the conversation, with alternating roles; the last message is the user's.
        schema: the schema of the structured output, or None for free text.
        max_tokens: the upper bound of the answer.
        caller: the caller who is charged.
        deadline_ns: the deadline on the monotonic clock.
        session: the caller's session that the question belongs to.
        session_front: whether it goes ahead of other requests of that session, because it continues its work.
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
    """An answer, with the usage and the attempts of this answer alone."""

    text: str
    stop_reason: str | None
    model: str
    usage: Usage
    attempts: int


class LanguageModel(Protocol):
    """Asks a model, with admission control and retries."""

    async def ask(self, question: Question, on_progress: OnProgress, tally: Tally) -> ModelAnswer:
        """Asks until there is an answer. Adds the cost of each attempt to the tally, also if the attempt fails.

        Raises:
            Refusal: Tidegate did not admit the call.
            UpstreamError: the upstream refused, and a retry would not help.
            RetriesExhausted: all attempts failed, or the time ran out.
        """
        ...
