import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from support.workflow_documents import valid_documents
from tidegate.generation.dsl import Workflow, check_document
from tidegate.generation.dsl.base import OpenDslModel
from tidegate.generation.dsl.semantics.walk import walk
from tidegate.generation.dsl.tasks import TaskBase

_VALID = valid_documents()


@pytest.mark.parametrize("document", _VALID.values(), ids=_VALID.keys())
def test_a_valid_document_has_no_findings_and_comes_back_as_it_was(document: dict[str, Any]) -> None:
    workflow, findings = check_document(document)

    assert findings == ()
    assert workflow is not None
    assert workflow.to_document() == document


def test_there_are_at_least_forty() -> None:
    assert len(_VALID) >= 40


def test_together_they_use_every_property_of_every_model() -> None:
    declared = {(model, name) for model in _subclasses(OpenDslModel) for name in _own_properties(model)}
    used = {
        (kind, name)
        for document in _VALID.values()
        for model in _models(Workflow.model_validate(document))
        for kind in type(model).__mro__
        for name in model.model_fields_set & _own_properties(kind)
    }

    assert {(model.__name__, name) for model, name in declared - used} == set()


def test_all_twelve_kinds_of_task_are_known() -> None:
    assert sorted(TaskBase.kinds) == [
        "call",
        "do",
        "emit",
        "for",
        "fork",
        "listen",
        "raise",
        "run",
        "set",
        "switch",
        "try",
        "wait",
    ]


def test_whole_numbers_may_be_written_as_fractions_as_json_schema_has_it() -> None:
    document = {"document": _VALID["described"]["document"], "do": [{"a": {"wait": {"seconds": 3.0}}}]}

    assert Workflow.model_validate(document).to_document() == document


def _models(workflow: Workflow) -> Iterator[OpenDslModel]:
    yield workflow
    yield from (place.value for place in walk(workflow) if isinstance(place.value, OpenDslModel))


def _subclasses(model: type[OpenDslModel]) -> Iterator[type[OpenDslModel]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _own_properties(model: type) -> set[str]:
    return set(inspect.get_annotations(model)) - {"kinds", "model_config"}
