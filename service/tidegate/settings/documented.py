"""Finds what is documented of each setting."""

from pydantic import BaseModel

from tidegate.settings.fields import Documented
from tidegate.settings.model import Settings
from tidegate.settings.values import Values

__all__ = ["documented_fields"]


def documented_fields(model: type[BaseModel] = Settings) -> dict[str, Documented]:
    """What is documented of each field of a settings model: those of its own in their order, then inherited groups."""
    inherited = {name for base in model.__bases__ if base is not Values for name in getattr(base, "model_fields", ())}
    return {
        name: next(item for item in model.model_fields[name].metadata if isinstance(item, Documented))
        for name in sorted(model.model_fields, key=lambda name: name in inherited)
    }
