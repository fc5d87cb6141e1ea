"""The DSL's restricted strings. Formats are checked as the SDK does, so that what passes here passes there."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from tidegate.generation.dsl.refusals import must_be

_EXPRESSION = re.compile(r"\s*\$\{([^\n\r\u2028\u2029]+)\}\s*")
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_JSON_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_PERCENT = r"%[0-9A-Fa-f]{2}"
# RFC 3986: unreserved and sub-delims; path segments add `:` and `@`, query and fragment also `/` and `?`.
_PLAIN = r"A-Za-z0-9._~!$&'()*+,;=\-"
_URI = re.compile(
    rf"{_SCHEME}(([{_PLAIN}:]|{_PERCENT})*@)?(\[[0-9A-Fa-f:.]+\]|([{_PLAIN}]|{_PERCENT})*)(:[0-9]*)?"
    rf"(/([{_PLAIN}:@]|{_PERCENT})*)*(\?([{_PLAIN}:@/?]|{_PERCENT})*)?(\#([{_PLAIN}:@/?]|{_PERCENT})*)?"
)
# RFC 6570, but without dots in variable names: the SDK's format check has none.
_VARIABLE = rf"([A-Za-z0-9_]|{_PERCENT})+(:[1-9][0-9]{{0,3}}|\*)?"
_TEMPLATE = rf"([^\x00-\x20\"'<>%\\^`{{|}}]|{_PERCENT}|\{{[+#./;?&=,!@|]?{_VARIABLE}(,{_VARIABLE})*\}})*"
_RELATIVE_TEMPLATE = re.compile(_TEMPLATE)
_URI_TEMPLATE = re.compile(_SCHEME + _TEMPLATE)


def expression_body(text: str) -> str | None:
    """Return what is inside `${ }` if the whole string is one runtime expression, else `None`."""
    match = _EXPRESSION.fullmatch(text)
    return match[1].strip() if match else None


def is_uri_template(text: str) -> bool:
    """Whether the string is an absolute URI (RFC 3986) or URI template (RFC 6570) with `://` after its scheme."""
    return bool(_URI_TEMPLATE.fullmatch(text) or _URI.fullmatch(text))


def _is_expression(text: str) -> bool:
    return expression_body(text) is not None


def _is_date_time(text: str) -> bool:
    if not _DATE_TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def checked(allowed: str, *accepts: Callable[[str], object]) -> Callable[[str], str]:
    """Return a check that passes a string which one of the tests accepts, and else says what is allowed.

    Raises:
        PydanticCustomError: From the returned check; its text is «must be …» with the words given as `allowed`.
    """

    def check(text: str) -> str:
        if not any(accept(text) for accept in accepts):
            raise must_be(allowed)
        return text

    return check


as_uri_or_expression = checked(
    "an absolute URI such as https://example.com/{id}, or a runtime expression ${ … }", is_uri_template, _is_expression
)
"""The check behind `UriOrExpression`, for unions with it."""

RuntimeExpression = Annotated[str, AfterValidator(checked("a runtime expression on one line, ${ … }", _is_expression))]
"""An expression where the schema demands the form `${ … }`."""

UriTemplate = Annotated[
    str, AfterValidator(checked("an absolute URI or URI template such as https://example.com/{id}", is_uri_template))
]
"""An absolute URI, possibly with variables."""

RelativeUriTemplate = Annotated[
    str, AfterValidator(checked("a URI template such as /oauth2/{tenant}", _RELATIVE_TEMPLATE.fullmatch))
]
"""A URI, absolute or relative, possibly with variables."""

UriOrExpression = Annotated[str, AfterValidator(as_uri_or_expression)]
"""An absolute URI, or an expression that computes one."""

SemanticVersion = Annotated[
    str, AfterValidator(checked("a semantic version such as 1.0.0", _SEMANTIC_VERSION.fullmatch))
]
"""A version as https://semver.org defines it."""

Label = Annotated[
    str,
    AfterValidator(checked("1 to 63 letters, digits and hyphens, with no hyphen at either end", _LABEL.fullmatch)),
]
"""A name in the form of a DNS label (RFC 1123)."""

PointerOrExpression = Annotated[
    str,
    AfterValidator(
        checked("a JSON pointer such as /do/0, or a runtime expression ${ … }", _JSON_POINTER.fullmatch, _is_expression)
    ),
]
"""A JSON pointer (RFC 6901), or an expression that computes one."""

TimeOrExpression = Annotated[
    str,
    AfterValidator(
        checked("a time such as 2025-01-31T12:00:00Z, or a runtime expression ${ … }", _is_date_time, _is_expression)
    ),
]
"""A time with its offset (RFC 3339), or an expression that computes one."""
