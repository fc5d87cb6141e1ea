"""Hypothesis settings for slow properties."""

from hypothesis import settings

__all__ = ["share_of_examples"]


def share_of_examples(share: float) -> settings:
    """The settings of the chosen profile, with this share of its examples. For properties with slow examples."""
    return settings(max_examples=max(1, round(settings().max_examples * share)))
