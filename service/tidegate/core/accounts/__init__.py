"""The limits of single callers, across all pools."""
