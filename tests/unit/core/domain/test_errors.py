"""What errors carry, and what they say."""

from tidegate.core.domain.errors import RetriesExhausted, UpstreamError, UpstreamUnreachable


def test_an_upstream_that_cannot_be_reached_has_no_answer_to_pass_on() -> None:
    error = UpstreamUnreachable("connection reset", may_have_been_accepted=True)
    assert str(error) == "connection reset"
    assert (error.status, error.headers, error.body, error.error_type) == (0, (), b"", None)
    assert (error.may_have_been_accepted, error.out_of_time, error.retry_after_is_odd) == (True, False, False)


def test_one_that_was_not_waited_for_says_so() -> None:
    assert UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True).out_of_time is True


def test_an_answer_is_kept_for_passing_on() -> None:
    headers = [(b"retry-after", b"soon")]
    error = UpstreamError("slow down", status=429, retry_after_is_odd=True, headers=headers, body=b"{}")
    assert (error.status, error.retry_after_is_odd, error.headers, error.body) == (429, True, headers, b"{}")


def test_giving_up_tells_how_often_and_how_long_and_why() -> None:
    error = RetriesExhausted(5, 61.26, UpstreamError("overloaded", status=529))
    assert str(error) == "gave up after 5 attempts in 61.3 s; the last failed with: overloaded"
