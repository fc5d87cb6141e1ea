"""From the text of an answer to a document that is valid, or to findings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.generation.dsl import check_document
from tidegate.generation.structured import open_envelope, parse_json

if TYPE_CHECKING:
    from tidegate.generation.caller_schema import CallerSchema

__all__ = ["Checked", "check_answer", "check_own_schema_answer"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked answer: the document, and what is wrong with it, one finding a line, its JSON pointer first."""

    document: Any
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_answer(text: str) -> Checked:
    """Checks an answer that should be a workflow document in the envelope."""
    try:
        document, notes = open_envelope(text)
    except ValueError as error:
        return Checked(None, (str(error),))
    findings = check_document(document)
    return Checked(document, tuple(map(str, findings)), notes)


def check_own_schema_answer(text: str, schema: "CallerSchema", *, enveloped: bool) -> Checked:
    """Checks an answer that should be valid under a schema of the caller's."""
    notes: tuple[str, ...] = ()
    try:
        if enveloped:
            document, notes = open_envelope(text)
        else:
            document = parse_json(text, "the answer")
    except ValueError as error:
        return Checked(None, (str(error),))
    return Checked(document, schema.findings(document), notes)
