"""The models beside the Serverless Workflow SDK (npm `@serverlessworkflow/sdk` 1.0.1), which checks the JSON Schema."""

import copy
import random
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from support.workflow_documents import faulty_documents, sdk_complaints, valid_documents
from tidegate.generation.dsl import Workflow

_MUTANTS = 3_000
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1.5, 3.0, -1, "", "x", "a b", "${ .a }", "${", "/a/b", "1.0.0", "grpc", [], {}, ["a"], [{}]),
    *("PT5M", "P1W", "https://a.example.com/{b}", "https://a b", "2025-01-31T12:00:00Z", {"a": 1}, {"seconds": 1}),
    *({"use": "x"}, {"with": {}}, {"set": {"a": 1}}, [{"a": {"set": {"a": 1}}}]),
)

_Path = tuple[str | int, ...]


def test_the_sdk_accepts_what_the_models_accept() -> None:
    samples = valid_documents()
    faults = {fault.name: fault.document for fault in faulty_documents("semantic-faults.yaml")}
    documents = samples | faults
    complaints = sdk_complaints(list(documents.values()))

    assert {name: said for name, said in zip(documents, complaints, strict=True) if said is not None} == {}


def test_the_sdk_rejects_each_document_that_breaks_the_schema() -> None:
    breaks = faulty_documents("schema-breaks.yaml")
    complaints = sdk_complaints([sample.document for sample in breaks])

    assert [sample.name for sample, said in zip(breaks, complaints, strict=True) if said is None] == []


def test_models_and_sdk_judge_damaged_documents_alike() -> None:
    mutants = _mutants(random.Random(20251131))  # noqa: S311 - for variety, not secrecy
    complaints = sdk_complaints(mutants)
    verdicts = [_accepts(mutant) for mutant in mutants]

    disagreements = [
        mutant for mutant, ours, said in zip(mutants, verdicts, complaints, strict=True) if ours != (said is None)
    ]
    assert disagreements == []
    assert 500 < sum(verdicts) < _MUTANTS - 500, "the mutants should be a mix of valid and broken documents"


def _accepts(document: dict[str, Any]) -> bool:
    try:
        return Workflow.model_validate(document).to_document() == document
    except ValidationError:
        return False


def _mutants(randomness: random.Random) -> list[dict[str, Any]]:
    # Not those with `use.authentications`: there the models are stricter on purpose, which has a test of its own.
    samples = [document for document in valid_documents().values() if "authentications" not in document.get("use", {})]
    keys = sorted({key for sample in samples for path in _paths(sample) for key in path if isinstance(key, str)})
    return [_mutant(randomness.choice(samples), keys, randomness) for _ in range(_MUTANTS)]


def _mutant(sample: dict[str, Any], keys: list[str], randomness: random.Random) -> dict[str, Any]:
    """Return a copy with one property or item removed, replaced, added or renamed."""
    mutant = copy.deepcopy(sample)
    *way, last = randomness.choice([path for path in _paths(mutant) if path])
    parent: Any = mutant
    for key in way:
        parent = parent[key]
    value = copy.deepcopy(randomness.choice(_VALUES))
    change = randomness.choice(("remove", "replace", "add", "rename"))
    if change == "remove":
        del parent[last]
    elif change == "replace" or not isinstance(parent, dict):
        parent[last] = value
    elif change == "add":
        parent[randomness.choice(keys)] = value
    else:
        parent[randomness.choice(keys)] = parent.pop(last)
    return mutant


def _paths(value: object, path: _Path = ()) -> Iterator[_Path]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _paths(item, (*path, at))
