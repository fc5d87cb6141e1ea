"""From the text of an answer to a document that is valid, or to findings."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.generation.dsl import check_document
from tidegate.generation.structured import open_envelope

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["Checked", "check_answer", "check_own_schema_answer"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked answer: the document, or what is wrong with it, one finding a line, path first."""

    document: dict[str, Any] | None
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_answer(text: str) -> Checked:
    """Checks an answer that should be a workflow document in the envelope."""
    try:
        document, notes = open_envelope(text)
    except ValueError as error:
        return Checked(None, (str(error),))
    _, findings = check_document(document)
    return Checked(None if findings else document, tuple(map(str, findings)), notes)


def check_own_schema_answer(text: str, validator: "Validator", *, enveloped: bool) -> Checked:
    """Checks an answer that should be valid under a schema of the caller's."""
    notes: tuple[str, ...] = ()
    try:
        if enveloped:
            document, notes = open_envelope(text)
        else:
            document = json.loads(text)
    except ValueError as error:
        return Checked(None, (f"the answer: {error}",))
    errors = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    findings = tuple(f"{error.json_path.removeprefix('$') or 'document'}: {error.message}" for error in errors)
    if not findings and not isinstance(document, dict):
        findings = ("document: must be an object",)
    return Checked(None if findings else document, findings, notes)
