"""What all groups of settings have in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Values"]


class Values(BaseModel):
    """Settings that are checked when they are made, never change, and hide what was given from error texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)
