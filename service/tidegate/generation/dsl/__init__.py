"""Checks documents of the Serverless Workflow DSL, version 1.0, by the specification's JSON Schema and for meaning."""

from tidegate.generation.dsl.check import check_document
from tidegate.generation.dsl.findings import Finding

__all__ = ["Finding", "check_document"]
