"""The fields and texts of errors."""

from tidegate.core.domain.errors import (
    ConfigurationError,
    ConfigurationErrors,
    MissingExtra,
    RetriesExhausted,
    UpstreamError,
    UpstreamUnreachable,
    forget_frames,
)


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


def test_giving_up_at_the_deadline_says_so() -> None:
    late = UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True)
    assert (
        str(RetriesExhausted(1, 40.0, late)) == "ran out of time after 1 attempt in 40.0 s; the last failed with: late"
    )


def test_a_setting_that_is_missing_is_reported_as_missing() -> None:
    assert str(ConfigurationError("PORT", None, "a number")) == "PORT is not set; it must be a number"
    assert str(ConfigurationError("PORT", "x", "a number")) == "PORT: got 'x', allowed is a number"


def test_several_faults_have_a_line_each_and_the_attributes_of_the_first() -> None:
    faults = [ConfigurationError("a", 1, "2"), ConfigurationError("b", None, "3")]
    error = ConfigurationErrors(faults)
    assert str(error) == "a: got 1, allowed is 2\nb is not set; it must be 3"
    assert (error.faults, error.field, error.given, error.allowed) == (tuple(faults), "a", 1, "2")
    assert error.args == ("a: got 1, allowed is 2",)


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtra("protocol", "grpc", "http", extra="otlp-grpc")
    assert (error.extra, error.field, error.given) == ("otlp-grpc", "protocol", "grpc")
    command = "pip install 'tidegate[otlp-grpc]'"
    assert str(error) == f"protocol: got 'grpc', allowed is http; to use grpc, run: {command}"


def test_a_handled_error_forgets_its_frames_and_those_of_its_causes() -> None:
    errors: list[BaseException] = []
    try:
        try:
            try:
                raise ValueError  # noqa: TRY301
            except ValueError as first:
                errors.append(first)
                raise KeyError from first
        except KeyError as second:
            errors.append(second)
            raise TypeError  # noqa: B904
    except TypeError as last:
        errors.append(last)
        last.__cause__ = last  # a chain may contain an error twice
        forget_frames(last)
    assert [each.__traceback__ for each in errors] == [None, None, None]


def test_the_cause_of_an_error_and_the_one_that_was_handled_forget_their_frames_too() -> None:
    errors: list[BaseException] = []
    for _ in range(4):
        try:
            raise ValueError  # noqa: TRY301
        except ValueError as error:
            errors.append(error)
    first, cause, handled, last = errors
    last.__cause__, last.__context__, handled.__context__ = cause, handled, first
    forget_frames(last)
    assert [each.__traceback__ for each in errors] == [None] * 4


def test_a_deadline_of_the_upstream_is_not_hasty_unless_it_is_said_to_be() -> None:
    usual = UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True)
    hasty = UpstreamUnreachable("late", may_have_been_accepted=True, out_of_time=True, is_hasty=True)
    assert (usual.is_hasty, hasty.is_hasty) == (False, True)
