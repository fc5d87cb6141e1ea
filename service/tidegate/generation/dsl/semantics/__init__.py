"""Checks of what the schema cannot express: flow, references, expressions and times of a document that fits it."""
