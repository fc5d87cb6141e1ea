"""Serverless Workflow DSL 1.0.0: models of the whole language, and checks beyond its schema."""

from tidegate.generation.dsl.check import check_document
from tidegate.generation.dsl.findings import Finding
from tidegate.generation.dsl.workflow import Workflow

__all__ = ["Finding", "Workflow", "check_document"]
