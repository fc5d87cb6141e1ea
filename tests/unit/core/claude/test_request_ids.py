"""The id that the upstream gives to a request."""

from tidegate.core.claude.request_ids import upstream_request_id


def test_the_id_is_found_in_fields_of_any_case_and_in_a_mapping() -> None:
    assert upstream_request_id(((b"Request-Id", b"req_1"), (b"other", b"x"))) == "req_1"
    assert upstream_request_id({b"request-id": b"req_\xe9"}) == "req_é"


def test_a_response_without_an_id_has_an_empty_one() -> None:
    assert upstream_request_id(()) == upstream_request_id({}) == ""


def test_a_long_id_is_cut() -> None:
    assert upstream_request_id({b"request-id": b"x" * 121}) == "x" * 120
