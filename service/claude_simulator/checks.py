"""Checks of numbers that a user chose, in one wording: the field, what was given, what is allowed."""

import math


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
    """Check that a field is a finite number in a range.

    Args:
        owner: The object with the field.
        name: The field.
        least: The smallest value allowed.
        above: A bound that the value must exceed.
        most: The largest value allowed.
        whole: Whether only whole numbers are allowed.
        optional: Whether None is allowed.

    Raises:
        ValueError: The field is anything else.
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
