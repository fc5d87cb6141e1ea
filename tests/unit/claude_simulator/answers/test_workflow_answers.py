"""Workflow documents composed from the words of a request."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claude_simulator.answers.clauses import camel_case, clauses, label, request_text
from claude_simulator.answers.workflow_answers import broken_workflow_document, workflow_document
from tidegate.generation.dsl.check import check_document

ORDER = "When an order arrives, check stock, charge the card, retry twice, then notify the warehouse"


def tasks(text: str) -> dict[str, Any]:
    return {name: task for entry in workflow_document(text)["do"] for name, task in entry.items()}


def test_the_example_of_the_readme() -> None:
    document = workflow_document(ORDER)

    assert document["document"] == {
        "dsl": "1.0.0",
        "namespace": "simulated",
        "name": "when-order-arrives-check-stock-charge",
        "version": "0.1.0",
        "title": ORDER[:80],
        "summary": f"Simulated answer for: {ORDER}",
    }
    assert document["schedule"] == {"on": {"one": {"with": {"type": "com.example.order.arrived"}}}}
    assert tasks(ORDER)["checkStock"] == {
        "call": "http",
        "with": {"method": "get", "endpoint": "https://api.example.com/check-stock"},
    }
    retried = tasks(ORDER)["chargeCardWithRetry"]
    assert list(retried["try"][0]) == ["chargeCard"]
    assert retried["catch"]["retry"]["limit"] == {"attempt": {"count": 2}}
    assert list(tasks(ORDER)) == ["checkStock", "chargeCardWithRetry", "notifyWarehouse"]


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("Every 5 minutes fetch prices", {"every": {"minutes": 5}}),
        ("every hour, clean up", {"every": {"hours": 1}}),
        ("Daily send a report", {"every": {"days": 1}}),
        ("When a file is uploaded scan it", {"on": {"one": {"with": {"type": "com.example.file.uploaded"}}}}),
        ("after lunch, tell me", {"on": {"one": {"with": {"type": "com.example.lunch.happened"}}}}),
        ("check stock, when an order arrives", None),
    ],
)
def test_schedules(text: str, schedule: dict[str, Any] | None) -> None:
    assert workflow_document(text).get("schedule") == schedule


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("wait 3 minutes", "wait3Minutes", {"wait": {"minutes": 3}}),
        (
            "wait for approval",
            "waitApproval",
            {"listen": {"to": {"one": {"with": {"type": "com.example.approval.happened"}}}}},
        ),
        ("set the total", "setTotal", {"set": {"total": "${ . }"}}),
        ("if stock is low, order more", "orderMore", {"if": '${ ."stockIsLow" }'}),
        ("if a is b, do c, otherwise do d", "doD", {"if": '${ ."isB" | not }'}),
        (
            "for each item in the list, update the shop",
            "updateShopForEach",
            {"for": {"each": "item", "in": '${ ."items" }'}},
        ),
        ("for every order ship goods", "shipGoodsForEach", {"for": {"each": "order", "in": '${ ."orders" }'}}),
        ("charge the card within 10 seconds", "chargeCard", {"timeout": {"after": {"seconds": 10}}}),
        ("store the file, retry up to 5 times", "storeFileWithRetry", {}),
        ("retry three times", "firstAttemptWithRetry", {}),
    ],
)
def test_phrases(text: str, name: str, part: dict[str, Any]) -> None:
    assert tasks(text)[name].items() >= part.items()


def test_events_errors_and_branches() -> None:
    found = tasks("Publish order paid; if payment fails, abort the order; send email and update crm in parallel")

    assert found["publishOrderPaid"]["emit"]["event"]["with"]["type"] == "com.example.order-paid.happened"
    assert found["abortOrder"]["raise"]["error"]["title"] == "the order"
    assert [name for branch in found["sendEmailUpdateCrm"]["fork"]["branches"] for name in branch] == [
        "sendEmail",
        "updateCrm",
    ]


def test_tasks_after_an_unconditional_failure_are_reachable() -> None:
    assert tasks("abort the order, tell the customer")["abortOrder"]["call"] == "http"


def test_tasks_with_equal_words_get_different_names() -> None:
    assert list(tasks("check stock; check stock")) == ["checkStock", "checkStock2"]


@given(st.text(max_size=300))
@example(ORDER)
@example("")
@example("otherwise otherwise")
@example("for each 1 do it")
@example("当订单到达时，检查库存，然后通知仓库")
@example("\ud800")
@example("In parallel and in parallel")
def test_every_text_gives_a_valid_document(text: str) -> None:
    assert check_document(workflow_document(text)) == ()


@given(st.lists(st.sampled_from(["if x", "otherwise", "retry twice", "for each a", "fail", "wait 1 day", "go"])))
def test_phrases_in_any_order_give_a_valid_document(phrases: list[str]) -> None:
    assert check_document(workflow_document(", ".join(phrases))) == ()


def test_a_broken_document_is_invalid() -> None:
    findings = check_document(broken_workflow_document(ORDER))

    assert "/document/name" in [finding.path for finding in findings]


def test_different_questions_give_different_documents() -> None:
    assert workflow_document("ship the goods") != workflow_document("refund the customer")


def test_the_request_is_the_content_of_the_last_tag() -> None:
    assert request_text("Rules: …\n<example>a</example>\n<request>\nship it\n</request>") == "ship it"
    assert request_text(" ship it ") == "ship it"


def test_clauses_are_split_at_punctuation_then_and_verbs() -> None:
    assert clauses("1. Check a and send b\n- wait; go, and then stop.") == ["Check a", "send b", "wait", "go", "stop"]


def test_the_work_is_bounded() -> None:
    assert len(workflow_document("go, " * 10_000)["do"]) == 40
    assert len(workflow_document("<a>" * 1_000_000)["do"]) == 1
    assert len(workflow_document("when" + " " * 1_000_000 + "x")["do"]) == 1


def test_names() -> None:
    assert camel_case("Check the STOCK of it", fallback="x") == "checkStock"
    assert camel_case("?", fallback="x") == "x"
    assert label("Prüfe den Bestand!", fallback="x") == "prufe-den-bestand"
    assert label("检查", fallback="x") == "x"
