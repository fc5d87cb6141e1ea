"""Tidegate: spends the whole Claude API quota, without 429s, shares it fairly, and shows where every token went."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("tidegate")
except PackageNotFoundError:  # running from a checkout that was never installed
    __version__ = "0.0.0+checkout"
