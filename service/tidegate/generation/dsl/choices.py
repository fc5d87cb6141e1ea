"""Validators for the DSL's alternatives: they pick one by looking at the value, so errors concern that one alone."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, WrapValidator

from tidegate.generation.dsl.findings import listed
from tidegate.generation.dsl.refusals import must_be, refused


def pick_by_key(
    kinds: Mapping[str, type[BaseModel]], otherwise: type[BaseModel] | None = None
) -> Callable[[object], BaseModel]:
    """Return a reader of objects that are told apart by which one of some keys they have.

    Args:
        kinds: The model to read an object with, by the key that makes it that kind.
        otherwise: The model for an object with none of these keys; without it such an object is an error.
    """
    keys = ", ".join(kinds)

    def read(value: object) -> BaseModel:
        if not isinstance(value, Mapping):
            raise must_be(f"an object with one of: {keys}")
        present = [key for key in kinds if key in value]
        if len(present) > 1:
            raise refused("must have only one of: {keys}; it has {given}", keys=keys, given=" and ".join(present))
        kind = kinds[present[0]] if present else otherwise
        if kind is None:
            raise refused("must have one of: {keys}; it has {given}", keys=keys, given=listed(value))
        return kind.model_validate(value)

    return read


def by_key(kinds: Mapping[str, type[BaseModel]], otherwise: type[BaseModel] | None = None) -> WrapValidator:
    """Return the annotation for a union of models that `pick_by_key` tells apart."""
    read = pick_by_key(kinds, otherwise)
    return WrapValidator(lambda value, _handler: read(value))


def text_or(
    read_object: Callable[[Any], object], read_text: Callable[[str], str] = str, allowed: str = "a string or an object"
) -> WrapValidator:
    """Return the annotation for «a string or an object».

    Args:
        read_object: Makes the value of an object, for instance a model's `model_validate`.
        read_text: Checks a string, returns it unchanged.
        allowed: Both in words, for the error about a value that is neither.
    """

    def read(value: object, _handler: object) -> object:
        if isinstance(value, str):
            return read_text(value)
        if isinstance(value, Mapping):
            return read_object(value)
        raise must_be(allowed)

    return WrapValidator(read)
