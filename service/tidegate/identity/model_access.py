"""Restricts a caller to its allowed models."""

from typing import Final

from tidegate.core.claude.rate_limit_groups import undated
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal

__all__ = ["check_model"]

_SHOWN_CHARACTERS: Final = 80


def check_model(caller: Caller, model: str) -> None:
    """Checks that a caller may use a model. An alias in the caller's list includes its dated ids.

    An empty `model` stands for a request without a readable model, which a list of models does not allow.

    Raises:
        Refusal: FORBIDDEN, with the list.
    """
    if not caller.models or model in caller.models or undated(model) in caller.models:
        return
    given = f"got {model[:_SHOWN_CHARACTERS]!r}" if model else "the request has no readable model"
    allowed = ", ".join(caller.models)
    raise Refusal(Cause.FORBIDDEN, f"model: {given}, allowed for caller {caller.label!r} is {allowed}")
