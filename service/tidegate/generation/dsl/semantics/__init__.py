"""Checks of what the schema cannot say: where the flow goes, what names refer to, and whether expressions parse."""
