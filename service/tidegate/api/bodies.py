"""Bodies of the `/api` routes. Types are strict: nothing is converted."""

import json
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from tidegate.ai_client import MOST_PROMPT_CHARACTERS
from tidegate.api.examples import ANSWER_EXAMPLE
from tidegate.core.domain.pool_settings import LEAST_UNITS
from tidegate.core.domain.usage import Usage
from tidegate.settings.field_types import AUTO, MAX_BURST_SECONDS, MAX_SECONDS, MAX_UNITS

__all__ = ["ConfigureBody", "GenerateAnswer", "GenerateBody", "ProblemDocument", "UsageAnswer", "usage_answer"]


def _prompt(value: str) -> str:
    if not value.strip() or len(value) > MOST_PROMPT_CHARACTERS:
        raise ValueError(f"a text that is not blank, of at most {MOST_PROMPT_CHARACTERS:,} characters")
    return value


def _encodable(value: object) -> object:
    r"""JSON can hold half of a surrogate pair, as `\ud800`; no UTF-8 text can, so it could not be sent on."""
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


# One validator instead of a union of types, so that a fault is told in one sentence.
PerMinute = Annotated[Any, PlainValidator(partial(_limit, MAX_UNITS)), _limit_schema(MAX_UNITS)]
BurstSeconds = Annotated[Any, PlainValidator(partial(_limit, MAX_BURST_SECONDS)), _limit_schema(MAX_BURST_SECONDS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GenerateBody(_Body):
    """What to generate."""

    prompt: Annotated[
        str,
        Field(description="What the workflow should do, in words."),
        AfterValidator(_prompt),
        AfterValidator(_encodable),
    ]
    fallback: Annotated[
        bool, Field(description="Whether a simpler request, to the fallback model, may be tried when this one fails.")
    ] = False
    model: Annotated[
        str | None,
        Field(pattern=r"^[!-~]{1,200}$", description="A model's id, instead of the configured one."),
    ] = None
    format: Annotated[
        Literal["json", "yaml"],
        Field(description="`yaml`: `workflow` is YAML text. With `accept: application/yaml` it is the whole answer."),
    ] = "json"
    schema_: Annotated[
        dict[str, Any] | None,
        Field(alias="schema", description="A JSON Schema that the document meets, instead of the workflow DSL."),
        AfterValidator(_encodable),
    ] = None
    stream: Annotated[bool, Field(description="Whether progress is sent, as server-sent events.")] = False
    timeout_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_SECONDS,
            allow_inf_nan=False,
            description="Time for everything, waiting included; with `fallback` the first request has 2/3 of it.",
        ),
    ] = None


class UsageAnswer(BaseModel):
    """Tokens of all answers of the model together."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int


def usage_answer(usage: Usage) -> dict[str, int]:
    """Usage as answers and problem documents tell it."""
    return UsageAnswer.model_validate(usage, from_attributes=True).model_dump()


class GenerateAnswer(BaseModel):
    """The document, and how it came about."""

    workflow: Annotated[
        Any,
        Field(
            description="The document: an object, unless `schema` allows something else; YAML text with `format: yaml`."
        ),
    ]
    valid: Annotated[bool, Field(description="It passed validation; a document that does not is never answered.")]
    model: str
    usage: UsageAnswer
    attempts: Annotated[int, Field(description="Attempts at the upstream, repairs and repetitions included.")]
    repaired: Annotated[bool, Field(description="The first answer was invalid, and one more turn mended it.")]
    fallback_used: bool
    fallback_reason: Annotated[
        Literal["invalid", "refused", "truncated", "deadline", "overloaded", "too_long"] | None,
        Field(description="Why the simpler request was needed."),
    ]
    fallback_message: Annotated[str | None, Field(description="The same in a sentence.")]
    queue_seconds: Annotated[float, Field(description="Time spent waiting for quota.")]
    notes: Annotated[list[str], Field(description="Remarks of the model.")]
    request_id: str

    model_config = ConfigDict(json_schema_extra={"example": ANSWER_EXAMPLE})


class ConfigureBody(_Body):
    """Changed settings; what is absent stays as it is. Ranges are those of `RateLimitConfig` and `[[pools]]`."""

    pool: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
            description="A known pool, or one in the status; absent: `default`, the limiter of the older API.",
        ),
    ] = None
    model: Annotated[str | None, Field(description="A model's id, instead of `pool`: the pool of this model.")] = None
    requests_per_minute: Annotated[PerMinute, Field(description="At least 0.001; `auto` for a pool.")] = None
    burst_limit: Annotated[int | None, Field(description="Requests at once, from 1; `default` only.")] = None
    base_delay: Annotated[float | None, Field(description="Seconds before the first retry; `default` only.")] = None
    max_delay: Annotated[float | None, Field(description="Longest wait in seconds; `default` only.")] = None
    jitter_factor: Annotated[float | None, Field(description="0 to 1; `default` only.")] = None
    learning_rate: Annotated[float | None, Field(description="Share of the rate that a 429 cuts; `default` only.")] = (
        None
    )
    adaptive_floor: Annotated[float | None, Field(description="Lowest share of the rate; `default` only.")] = None
    max_attempts: Annotated[int | None, Field(description="Attempts in all; `default` only.")] = None
    input_tokens_per_minute: Annotated[PerMinute, Field(description="With `pool` only.")] = None
    output_tokens_per_minute: Annotated[PerMinute, Field(description="With `pool` only.")] = None
    burst_seconds: Annotated[BurstSeconds, Field(description="What a bucket holds; with `pool` only.")] = None


class FieldFault(BaseModel):
    """One value that is not allowed."""

    field: str
    given: Any
    allowed: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldFault] | None = None
    attempts: Annotated[int | None, Field(description="Attempts at the upstream, if a generation failed.")] = None
    queue_seconds: Annotated[float | None, Field(description="Time it spent waiting for quota.")] = None
    usage: Annotated[UsageAnswer | None, Field(description="Tokens that it took all the same.")] = None
    request_id: str
