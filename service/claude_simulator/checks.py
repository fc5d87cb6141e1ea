"""Checks of values that a user chose. Every error names the field, the value and what is allowed."""

import math
import re
from enum import StrEnum
from typing import Any, get_args, get_origin, get_type_hints

import msgspec


def require_number(
    owner: object,
    name: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Checks that a field is a finite number in a range.

    Args:
        owner: the object with the field.
        name: the field.
        least: the smallest value allowed.
        above: a bound that the value must exceed.
        most: the largest value allowed.
        whole: whether only whole numbers are allowed.
        optional: whether None is allowed.

    Raises:
        ValueError: the field is anything else.
    """
    value = getattr(owner, name)
    if value is None and optional:
        return
    numeric = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if numeric and math.isfinite(value) and value >= least and value > above and value <= most:
        return
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (("from", least), ("above", above), ("up to", most))
        if math.isfinite(bound)
    ]
    allowed = f"{'a whole number' if whole else 'a finite number'} {' and '.join(bounds)}".rstrip()
    raise ValueError(f"{name}: {value!r} was given; {allowed} is allowed")


def decode(value: object, kind: Any, path: str = "") -> Any:
    """Converts parsed TOML or JSON to a type that msgspec supports.

    Args:
        value: the parsed value.
        kind: the type.
        path: where the value was found; starts every error.

    Raises:
        ValueError: a field is unknown or missing, or has a wrong type or value.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        place = place.removesuffix("`")
        names_field = re.match(r"\w+: ", message) is not None  # from `__post_init__`: the object is the place
        where = (path + place).removeprefix(".")
        separator = "." if where and names_field else ": " if where else ""
        raise ValueError(f"{where}{separator}{message}{_allowed(kind, place, message)}") from None


def _allowed(kind: Any, place: str, message: str) -> str:
    """Fields of the table or values of the enumeration at a place in `kind`, as the end of an error."""
    for key in re.findall(r"\w+", place):
        if get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = get_type_hints(kind)[key]
    if not isinstance(kind, type):
        return ""
    if issubclass(kind, StrEnum):
        return f"; allowed are {', '.join(kind)}"
    if issubclass(kind, msgspec.Struct) and "unknown field" in message:
        return f"; allowed are {', '.join(kind.__struct_fields__)}"
    return ""
