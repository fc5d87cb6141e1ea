"""The prompts: rules of the DSL, worked examples, and the request to repair an invalid answer."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

__all__ = ["EXAMPLE_NAMES", "example", "repair_message", "schema_rules", "simple_system_prompt", "system_prompt"]

EXAMPLE_NAMES: Final = ("order", "report")

_SCHEMA_RULES: Final = (
    "Answer with one JSON document that does what the description asks for and is valid under the JSON Schema below."
    " Invent nothing that the description does not say."
)


@cache
def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8").strip()


@cache
def example(name: str) -> Mapping[str, Any]:
    """Returns a worked example with `description`, the matching `workflow` document, and `notes`."""
    parsed: dict[str, Any] = json.loads(_text(f"example_{name}.json"))
    return parsed


@cache
def system_prompt() -> str:
    """Returns the rules of the DSL with both examples, long enough (over 512 tokens) for the upstream's cache."""
    parts = [_text("rules.md"), "# Worked examples"]
    for name in EXAMPLE_NAMES:
        worked = example(name)
        answer = {"workflow": json.dumps(worked["workflow"], separators=(",", ":")), "notes": worked["notes"]}
        parts.append(f"Description: {worked['description']}\nAnswer: {json.dumps(answer)}")
    return "\n\n".join(parts)


@cache
def simple_system_prompt() -> str:
    """Returns the rules for a simpler document, without examples."""
    return _text("simple_rules.md")


def schema_rules(schema: Mapping[str, Any]) -> str:
    """Returns the rules for a document under the caller's schema."""
    return f"{_SCHEMA_RULES}\n\n{json.dumps(schema, ensure_ascii=False)}"


def repair_message(findings: Sequence[str]) -> str:
    """Returns the message that asks the model to repair an answer, with one line per finding."""
    listed = "\n".join(f"- {finding}" for finding in findings)
    return f"The document is not valid. Fix exactly these faults and answer in the same form again:\n{listed}"
