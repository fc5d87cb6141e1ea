"""Checks the answers of a model: parses the document and finds its faults."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.generation.dsl import check_document
from tidegate.generation.structured import open_envelope, parse_json

if TYPE_CHECKING:
    from tidegate.generation.caller_schema.schema import CallerSchema

__all__ = ["Checked", "check_answer", "check_caller_schema_answer"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked answer: the document, its faults as "JSON pointer: message", and the model's remarks."""

    document: Any
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_answer(text: str) -> Checked:
    """Checks an answer that should be a workflow document in the envelope."""
    try:
        document, notes = open_envelope(text)
    except ValueError as error:
        return Checked(None, (str(error),))
    return Checked(document, tuple(map(str, check_document(document))), notes)


def check_caller_schema_answer(text: str, schema: "CallerSchema", *, enveloped: bool) -> Checked:
    """Checks an answer that should fit the caller's schema."""
    notes: tuple[str, ...] = ()
    try:
        if enveloped:
            document, notes = open_envelope(text)
        else:
            document = parse_json(text, "the answer")
    except ValueError as error:
        return Checked(None, (str(error),))
    return Checked(document, schema.findings(document), notes)
