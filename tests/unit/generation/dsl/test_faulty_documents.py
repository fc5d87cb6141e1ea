from typing import Any

import pytest

from support.workflow_documents import HEADER, FaultyDocument, faulty_documents
from tidegate.generation.dsl import Finding, check_document

_BREAKS = faulty_documents("schema-breaks.yaml") + faulty_documents("schema-breaks-1.0.3.yaml", "1.0.3")
_FAULTS = faulty_documents("semantic-faults.yaml")


@pytest.mark.parametrize("sample", [*_BREAKS, *_FAULTS], ids=lambda sample: sample.name)
def test_the_findings_name_each_fault_of_a_document(sample: FaultyDocument) -> None:
    assert tuple(map(str, check_document(sample.document))) == sample.findings


def test_there_are_enough_of_both() -> None:
    assert len(_BREAKS) >= 190
    assert len(_FAULTS) >= 45


def test_an_error_inside_a_call_is_about_this_call_and_about_no_other_kind_of_task() -> None:
    task = {"call": "http", "with": {"method": 5, "endpoint": "https://example.com"}}

    assert _findings_of({"try": [{"inner": task}], "catch": {}}) == (
        Finding("/do/0/a/try/0/inner/with/method", "must be a string, not 5"),
    )


def test_all_errors_of_a_document_are_found_at_once() -> None:
    task = {"call": "grpc", "with": {"proto": {"endpoint": 1}, "method": None, "hots": "x"}, "thn": "end"}

    assert [finding.path for finding in _findings_of(task)] == [
        "/do/0/a/with/service",
        "/do/0/a/with/proto/endpoint",
        "/do/0/a/with/method",
        "/do/0/a/with/hots",
        "/do/0/a/thn",
    ]


def test_paths_are_json_pointers_with_escapes() -> None:
    document = {"document": HEADER, "do": [{"a/b~c": {"wait": 5}}]}

    assert [finding.path for finding in check_document(document)] == ["/do/0/a~1b~0c/wait"]


@pytest.mark.parametrize(
    "authentication",
    [
        "hunter2",
        ["hunter2"],
        {"basic": "hunter2"},
        {"basic": {"username": "me", "password": ["hunter2"]}},
        {"basic": {"username": "me", "password": "right", "pasword": "hunter2"}},
        {"bearer": {"token": {"hunter2": "x"}}},
        {"oauth2": {"client": {"secret": ["hunter2"]}}},
        {"oauth2": {"client": "hunter2"}},
        {"oidc": {"subject": {"token": ["hunter2"], "type": "x"}}},
    ],
)
def test_a_finding_never_shows_a_credential(authentication: object) -> None:
    in_place = {"uri": "https://example.com", "authentication": authentication}
    documents: list[dict[str, Any]] = [
        {"do": [{"a": {"call": "http", "with": {"method": "get", "endpoint": in_place}}}]},
        {"do": [], "use": {"authentications": {"mine": authentication}}},
    ]

    for document in documents:
        findings = check_document({"document": HEADER, **document})
        assert findings
        assert not [finding for finding in findings if "hunter2" in str(finding)]


def test_a_finding_hides_credentials_in_a_uri() -> None:
    (finding,) = _findings_of({"call": "http", "with": {"method": "get", "endpoint": "https://me:hunter2@a b"}})

    assert finding.message.endswith('not "https://…@a b"')


def test_a_message_about_half_a_character_can_be_sent() -> None:
    findings = (*_findings_of({"wait": "\ud83d"}), *_findings_of({"set": {"\ud83d": 1}}))

    assert [str(finding).encode().decode() for finding in findings] == [
        "/do/0/a/wait: holds a lone surrogate, which is no character",
        r"/do/0/a/set: has the key '\ud83d', which holds a lone surrogate; that is no character",
    ]


def test_a_finding_names_at_most_twenty_alternatives() -> None:
    tasks = [{f"t{i}": {"wait": "PT1S"}} for i in range(30)] + [{"last": {"wait": "PT1S", "then": "t30"}}]
    (finding,) = check_document({"document": HEADER, "do": tasks})

    assert finding.message.endswith("tasks: " + ", ".join(f"t{i}" for i in range(20)) + ", … (31 in all)")


def _findings_of(task: dict[str, Any]) -> tuple[Finding, ...]:
    return check_document({"document": HEADER, "do": [{"a": task}]})
