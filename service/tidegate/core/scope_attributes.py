"""What scopes say of answers and failures, under the names of OpenTelemetry's conventions.

Source: OpenTelemetry semantic conventions for generative AI, page on Anthropic (read 2026-11-24).
"""

from tidegate.core.errors import Refusal, UpstreamError, UpstreamUnreachable
from tidegate.core.observer import Scope
from tidegate.core.usage import Usage

__all__ = ["set_error", "set_usage"]


def set_usage(scope: Scope, usage: Usage) -> None:
    """Notes what an answer used; all input counts as input, also what came from the cache."""
    total_input = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
    scope.set("gen_ai.usage.input_tokens", total_input)
    scope.set("gen_ai.usage.output_tokens", usage.output_tokens)
    scope.set("gen_ai.usage.cache_read.input_tokens", usage.cache_read_tokens)
    scope.set("gen_ai.usage.cache_write.input_tokens", usage.cache_creation_tokens)


def set_error(scope: Scope, error: BaseException) -> None:
    """Notes the status of an answer, if there was one, and the kind of a failure: from a closed set, never its text."""
    if isinstance(error, UpstreamUnreachable):
        scope.set("error.type", "timeout" if error.may_have_been_accepted else "connection")
    elif isinstance(error, UpstreamError):
        scope.set("http.response.status_code", error.status)
        scope.set("error.type", str(error.status))
    elif isinstance(error, Refusal):
        scope.set("error.type", error.cause)
    else:
        scope.set("error.type", type(error).__name__)
