"""Access of callers: their keys, pauses, and the owners of objects."""
