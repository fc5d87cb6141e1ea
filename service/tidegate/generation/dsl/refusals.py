"""The errors that this package's own validators raise; their texts are parts of findings."""

from typing import Any

from pydantic_core import PydanticCustomError

COMPLETE = "complete"
"""The type of an error whose text says all; to others the value that was given is added."""


def must_be(allowed: str) -> PydanticCustomError:
    """Return the error «must be …» for a value that is not what is allowed; a finding adds what was given."""
    return PydanticCustomError("must_be", "must be {allowed}", {"allowed": allowed})


def refused(message: str, **words: Any) -> PydanticCustomError:
    """Return an error whose text, a template for the words, is the whole message of the finding."""
    return PydanticCustomError(COMPLETE, message, words)
