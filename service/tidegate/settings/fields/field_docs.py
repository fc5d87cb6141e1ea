"""The base class of all settings models, and the documentation of their fields."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

__all__ = ["FieldDoc", "SettingsModel", "field_docs"]


class SettingsModel(BaseModel):
    """Immutable settings that are validated on creation. Error texts do not repeat the input, which may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """Documents one setting, in its annotation. Error messages, `check` and the README's table are made from it.

    Attributes:
        env: the environment variable that sets it; None if only the file can.
        allowed: the allowed values in words, with their unit.
        meaning: its effect, in one sentence.
    """

    env: str | None
    allowed: str
    meaning: str


def field_docs(model: type[SettingsModel]) -> dict[str, FieldDoc]:
    """The documentation of each field of a model: its own fields in their order, then inherited ones."""
    inherited = {
        name for base in model.__bases__ if base is not SettingsModel for name in getattr(base, "model_fields", ())
    }
    return {
        name: next(item for item in model.model_fields[name].metadata if isinstance(item, FieldDoc))
        for name in sorted(model.model_fields, key=lambda name: name in inherited)
    }
