"""Request and response bodies of the `/api` routes. Types are strict: no value is converted."""

import json
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from tidegate.ai_client import MOST_PROMPT_CHARACTERS
from tidegate.api.examples import ANSWER_EXAMPLE
from tidegate.core.domain.pool_settings import LEAST_UNITS
from tidegate.core.domain.usage import Usage
from tidegate.settings.fields.field_types import AUTO, MAX_BURST_SECONDS, MAX_SECONDS, MAX_UNITS

__all__ = ["ConfigureBody", "GenerateAnswer", "GenerateBody", "ProblemDocument", "UsageAnswer", "usage_body"]


def _prompt(value: str) -> str:
    if not value.strip() or len(value) > MOST_PROMPT_CHARACTERS:
        raise ValueError(f"a text that is not blank, of at most {MOST_PROMPT_CHARACTERS:,} characters")
    return value


def _encodable(value: object) -> object:
    r"""Refuses lone surrogates, such as `\ud800`: JSON allows them, but they cannot be encoded in UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("text without lone surrogates") from None
    return value


def _limit(most: int, value: object) -> object:
    if value == AUTO or (
        isinstance(value, int | float) and not isinstance(value, bool) and LEAST_UNITS <= value <= most
    ):
        return value
    raise ValueError(f"a number, {LEAST_UNITS} to {most:,}, or {AUTO}")


def _limit_schema(most: int) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": LEAST_UNITS, "maximum": most}, {"const": AUTO}]})


# One validator instead of a union of types, so that an error is one sentence.
PerMinute = Annotated[Any, PlainValidator(partial(_limit, MAX_UNITS)), _limit_schema(MAX_UNITS)]
BurstSeconds = Annotated[Any, PlainValidator(partial(_limit, MAX_BURST_SECONDS)), _limit_schema(MAX_BURST_SECONDS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GenerateBody(_Body):
    """A request to generate a workflow."""

    prompt: Annotated[
        str,
        Field(description="Describes the workflow."),
        AfterValidator(_prompt),
        AfterValidator(_encodable),
    ]
    fallback: Annotated[
        bool, Field(description="If the generation fails, try a simpler request to the fallback model.")
    ] = False
    model: Annotated[
        str | None,
        Field(pattern=r"^[!-~]{1,200}$", description="Id of the model; default: the configured one."),
    ] = None
    format: Annotated[
        Literal["json", "yaml"],
        Field(description="`yaml` returns `workflow` as YAML text; `accept: application/yaml` returns only that text."),
    ] = "json"
    schema_: Annotated[
        dict[str, Any] | None,
        Field(alias="schema", description="A JSON Schema for the document, instead of the workflow DSL."),
        AfterValidator(_encodable),
    ] = None
    stream: Annotated[bool, Field(description="Send progress as server-sent events.")] = False
    timeout_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_SECONDS,
            allow_inf_nan=False,
            description="Timeout, including waits; with `fallback`, the first request may use 2/3 of it.",
        ),
    ] = None


class UsageAnswer(BaseModel):
    """Tokens of all model responses together."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int


def usage_body(usage: Usage) -> dict[str, int]:
    """Usage as in responses and problem documents."""
    return UsageAnswer.model_validate(usage, from_attributes=True).model_dump()


class GenerateAnswer(BaseModel):
    """The generated document, and how it was generated."""

    workflow: Annotated[
        Any,
        Field(description="The document: an object unless `schema` allows other types; text with `format: yaml`."),
    ]
    valid: Annotated[bool, Field(description="Always true: an invalid document is an error.")]
    model: str
    usage: UsageAnswer
    attempts: Annotated[int, Field(description="Requests to the upstream, including repairs and retries.")]
    repaired: Annotated[bool, Field(description="The first document was invalid, and a second turn repaired it.")]
    fallback_used: bool
    fallback_reason: Annotated[
        Literal["invalid", "refused", "truncated", "deadline", "overloaded", "too_long"] | None,
        Field(description="Why the fallback was needed."),
    ]
    fallback_message: Annotated[str | None, Field(description="The reason as a sentence.")]
    queue_seconds: Annotated[float, Field(description="Time spent waiting for quota.")]
    notes: Annotated[list[str], Field(description="Remarks of the model.")]
    request_id: str

    model_config = ConfigDict(json_schema_extra={"example": ANSWER_EXAMPLE})


class ConfigureBody(_Body):
    """Changes of settings; absent fields keep their values. Ranges are those of `RateLimitConfig` and `[[pools]]`."""

    pool: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
            description="Name of a known pool or of one in the status; default: `default`, the older API's limiter.",
        ),
    ] = None
    model: Annotated[str | None, Field(description="Id of a model, instead of `pool`: changes its pool.")] = None
    requests_per_minute: Annotated[PerMinute, Field(description="At least 0.001; `auto` for a pool.")] = None
    burst_limit: Annotated[int | None, Field(description="Burst in requests, at least 1; `default` only.")] = None
    base_delay: Annotated[float | None, Field(description="Seconds before the first retry; `default` only.")] = None
    max_delay: Annotated[float | None, Field(description="Longest wait in seconds; `default` only.")] = None
    jitter_factor: Annotated[float | None, Field(description="0 to 1; `default` only.")] = None
    learning_rate: Annotated[float | None, Field(description="Share of the rate that a 429 cuts; `default` only.")] = (
        None
    )
    adaptive_floor: Annotated[float | None, Field(description="Lowest share of the rate; `default` only.")] = None
    max_attempts: Annotated[int | None, Field(description="Maximum number of attempts; `default` only.")] = None
    input_tokens_per_minute: Annotated[PerMinute, Field(description="With `pool` only.")] = None
    output_tokens_per_minute: Annotated[PerMinute, Field(description="With `pool` only.")] = None
    burst_seconds: Annotated[
        BurstSeconds, Field(description="Capacity of a bucket, in seconds of its rate; with `pool` only.")
    ] = None


class FieldFault(BaseModel):
    """A refused value."""

    field: str
    given: Any
    allowed: str


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldFault] | None = None
    attempts: Annotated[int | None, Field(description="Requests to the upstream by a failed generation.")] = None
    queue_seconds: Annotated[float | None, Field(description="Time that it waited for quota.")] = None
    usage: Annotated[UsageAnswer | None, Field(description="Tokens that it used.")] = None
    request_id: str
