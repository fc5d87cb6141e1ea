"""The errors that Tidegate raises.

TidegateError
├── ConfigurationError     a setting or argument is outside what is allowed (also a ValueError)
│   ├── ConfigurationErrors    several such values
│   └── MissingExtra           a feature that was asked for needs an extra that is not installed
├── Refusal                Tidegate refuses the call itself, with a `Cause`
├── UpstreamError          the upstream answered with an error
│   └── UpstreamUnreachable    no answer at all: connection refused, reset, timed out
├── RetriesExhausted       every attempt failed; holds the number of attempts, the time, and the last error
├── LedgerUnavailable       the database of the ledger does not answer, or a statement failed
├── UnreadableState         dumped state is damaged, or another version wrote it
└── GenerationError        the upstream answered, but with no valid document
"""

from collections.abc import Sequence

from tidegate.core.domain.cause import CAUSES, Cause, CauseRow
from tidegate.core.domain.dimension import Dimension

__all__ = [
    "ConfigurationError",
    "ConfigurationErrors",
    "GenerationError",
    "LedgerUnavailable",
    "MissingExtra",
    "Refusal",
    "RetriesExhausted",
    "TidegateError",
    "UnreadableState",
    "UpstreamError",
    "UpstreamUnreachable",
    "forget_frames",
]


class TidegateError(Exception):
    """Base of all errors that Tidegate raises on purpose. The text is one sentence for a user, without secrets."""


class ConfigurationError(TidegateError, ValueError):
    """A configured or passed value is not allowed.

    Attributes:
        field: name of the setting, environment variable or argument.
        given: the value, shortened, never a secret; None if it is not set.
        allowed: the allowed values, in words.
    """

    def __init__(self, field: str, given: object, allowed: str) -> None:
        self.field = field
        self.given = given
        self.allowed = allowed
        got = " is not set; it must be" if given is None else f": got {_shortened(given)}, allowed is"
        super().__init__(f"{field}{got} {allowed}")


class ConfigurationErrors(ConfigurationError):
    """Several values are not allowed. The attributes are those of the first. The text has a line for each.

    Attributes:
        faults: all of them, at least one.
    """

    def __init__(self, faults: Sequence[ConfigurationError]) -> None:
        self.faults = tuple(faults)
        super().__init__(faults[0].field, faults[0].given, faults[0].allowed)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


class MissingExtra(ConfigurationError):
    """A setting asks for a feature whose packages are an optional extra, and the extra is not installed.

    Attributes:
        extra: name of the extra in `project.optional-dependencies` of pyproject.toml.
    """

    def __init__(self, field: str, given: object, allowed: str, *, extra: str) -> None:
        self.extra = extra
        super().__init__(field, given, f"{allowed}; to use {given}, run: pip install 'tidegate[{extra}]'")


class Refusal(TidegateError):
    """Tidegate refuses a call. Nothing was sent upstream and nothing was charged.

    Attributes:
        cause: the row of the cause table that applies.
        retry_after_seconds: when the same call may succeed; None where waiting does not help or nobody can know.
        dimension: the dimension that is too small, if one is the reason.
    """

    def __init__(
        self,
        cause: Cause,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        dimension: Dimension | None = None,
    ) -> None:
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds
        self.dimension = dimension
        super().__init__(message)

    @property
    def row(self) -> CauseRow:
        """Status, error type and retryability of the cause."""
        return CAUSES[self.cause]


class UpstreamError(TidegateError):
    """The upstream answered with an error status, or with an error event inside a stream.

    Attributes:
        status: HTTP status; 200 for an error event inside a stream; 0 when there was no answer.
        error_type: `error.type` of the body, if the body was Anthropic-shaped.
        error_code: `error.details.error_code`, if given.
        upstream_message: the message as the upstream worded it.
        retry_after_seconds: how long the upstream asked to wait, if it did, within the bounds of `rate_limit_headers`.
        retry_after_is_odd: it asked for something outside of those bounds.
        headers: the unchanged header fields of the answer, to pass on.
        body: the unchanged body, to pass on.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str | None = None,
        error_code: str | None = None,
        upstream_message: str | None = None,
        retry_after_seconds: float | None = None,
        retry_after_is_odd: bool = False,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> None:
        self.status = status
        self.error_type = error_type
        self.error_code = error_code
        self.upstream_message = message if upstream_message is None else upstream_message
        self.retry_after_seconds = retry_after_seconds
        self.retry_after_is_odd = retry_after_is_odd
        self.headers = headers
        self.body = body
        super().__init__(message)


class UpstreamUnreachable(UpstreamError):
    """No answer from the upstream.

    Attributes:
        may_have_been_accepted: the whole request was sent, so the upstream may have processed and billed it.
        out_of_time: the wait ended because the call's own deadline had passed.
        is_hasty: that deadline gave the upstream less than a minute, which says nothing about the upstream.
    """

    def __init__(
        self, message: str, *, may_have_been_accepted: bool, out_of_time: bool = False, is_hasty: bool = False
    ) -> None:
        self.may_have_been_accepted = may_have_been_accepted
        self.out_of_time = out_of_time
        self.is_hasty = is_hasty
        super().__init__(message, status=0)


class RetriesExhausted(TidegateError):
    """Every attempt failed.

    Attributes:
        attempts: the number of attempts, including the first.
        elapsed_seconds: from the first attempt to giving up.
        last: the error of the last attempt (also `__cause__`).
    """

    def __init__(self, attempts: int, elapsed_seconds: float, last: UpstreamError) -> None:
        self.attempts = attempts
        self.elapsed_seconds = elapsed_seconds
        self.last = last
        tried = f"{attempts} attempt{'' if attempts == 1 else 's'} in {elapsed_seconds:.1f} s"
        verdict = "ran out of time after" if self.out_of_time else "gave up after"
        super().__init__(f"{verdict} {tried}; the last failed with: {last}")

    @property
    def out_of_time(self) -> bool:
        """Whether the call's own deadline ended the last attempt."""
        return isinstance(self.last, UpstreamUnreachable) and self.last.out_of_time


class LedgerUnavailable(TidegateError):
    """The database of the ledger does not answer, or refuses a statement."""


class UnreadableState(TidegateError):
    """Dumped state cannot be read: it is damaged, or another version wrote it. Start without it, and keep it aside."""


class GenerationError(TidegateError):
    """The model answered, but not with a document that can be used.

    Attributes:
        reason: `invalid`, `refused` or `truncated`.
        findings: the findings of the validator, one line each, path first; empty if there was nothing to validate.
    """

    def __init__(self, reason: str, message: str, findings: Sequence[str] = ()) -> None:
        self.reason = reason
        self.findings = tuple(findings)
        super().__init__(message)


def forget_frames(error: BaseException) -> None:
    """Drops the tracebacks of a handled error and of all errors that led to it.

    A traceback holds the frames of a call, and their variables hold the errors of its attempts. Such a cycle keeps the
    whole call in memory until the garbage collector finds it, which takes hours for objects that have become old.
    """
    known, chain = set[int](), [error]
    while chain:
        each = chain.pop()
        if id(each) not in known:
            known.add(id(each))
            each.__traceback__ = None
            chain += [other for other in (each.__cause__, each.__context__) if other is not None]


def _shortened(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
