"""The simulated models and their properties.

Sources: model ids from the Anthropic Python SDK 2.12.0 (`types/model.py`); families, context sizes, cache minimums and
restrictions from Claude Platform Docs, read in October 2026. Token costs of tools are not published for models since
Opus 5.5; those of Opus 4.8 are assumed. Release dates are not modelled: `created_at` is the epoch, which the API
documents as "unknown". Retirement dates are the SDK's (`DEPRECATED_MODELS`); later the model stays deprecated.
`deprecated_at` is 60 days earlier, the minimum notice that the API promises.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from claude_simulator.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. Models of a `family` share a pool of rate limits.

    `characters_per_token` replaces a tokenizer: Opus 4.7 and later count about 30 % more tokens than earlier models.
    `has_fast_mode`: `speed: "fast"` is allowed; `fast_mode_beta`: only with the beta header. `is_fast`: this is the
    model in fast mode, with a pool of its own.
    """

    id: str
    family: str
    max_input_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    min_cache_prefix_tokens: int = 512
    characters_per_token: float = 3.1
    max_image_edge_pixels: int = 2_576
    max_image_tokens: int = 4_784
    tool_prompt_tokens: int = 290
    forced_tool_prompt_tokens: int = 410
    accepts_sampling: bool = False
    accepts_prefill: bool = False
    accepts_forced_tools: bool = True
    accepts_system_messages: bool = True
    retires_on: str | None = None
    has_fast_mode: bool = False
    fast_mode_beta: bool = False
    is_fast: bool = False

    def in_fast_mode(self) -> "Model":
        """The same model in fast mode."""
        return replace(self, family=f"{self.id}-fast", is_fast=True)

    def info(self) -> dict[str, Any]:
        """The model as `GET /v1/models` lists it."""
        line = self.id.split("-")[1]
        version = self.id.removeprefix(f"claude-{line}").strip("-")
        return {
            "type": "model",
            "id": self.id,
            "display_name": f"Claude {line.title()} {version.replace('-', '.', 1)}".strip(),
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active" if self.retires_on is None else "deprecated",
            "deprecated_at": None if self.retires_on is None else _days_before(self.retires_on, 60),
            "retires_at": self.retires_on,
            "line": line,
            "capabilities": None,
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_output_tokens,
        }


def _days_before(moment: str, days: int) -> str:
    return f"{datetime.fromisoformat(moment) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def _older(model_id: str, family: str, *, min_cache_prefix_tokens: int, **changes: Any) -> Model:
    return Model(
        id=model_id,
        family=family,
        min_cache_prefix_tokens=min_cache_prefix_tokens,
        max_input_tokens=200_000,
        max_output_tokens=64_000,
        characters_per_token=4.0,
        max_image_edge_pixels=1_568,
        max_image_tokens=1_568,
        tool_prompt_tokens=497 if model_id.endswith("-4-6") else 496,
        forced_tool_prompt_tokens=589 if model_id.endswith("-4-6") else 588,
        accepts_sampling=True,
        accepts_system_messages=False,
        **changes,
    )


_MYTHOS_PREVIEW_RETIRES: Final = "2026-06-30T00:00:00Z"
_SONNET_4_5_RETIRES: Final = "2026-11-30T00:00:00Z"
_OPUS_4_5_RETIRES: Final = "2027-01-22T00:00:00Z"

MODELS: Final[dict[str, Model]] = {
    model.id: model
    for model in (
        Model(id="claude-fable-5-2", family="claude-fable-5", accepts_forced_tools=False, has_fast_mode=True),
        Model(id="claude-mythos-5-2", family="claude-mythos-5", has_fast_mode=True),
        Model(id="claude-haiku-5-5", family="claude-haiku-5-5"),
        Model(id="claude-sonnet-5-5", family="claude-sonnet-5-5", accepts_forced_tools=False),
        Model(id="claude-fable-5-1", family="claude-fable-5", accepts_forced_tools=False),
        Model(id="claude-opus-5-5", family="claude-opus-5-5", accepts_forced_tools=False, has_fast_mode=True),
        Model(id="claude-mythos-5-1", family="claude-mythos-5"),
        Model(
            id="claude-sonnet-5",
            family="claude-sonnet-5",
            min_cache_prefix_tokens=1024,
            tool_prompt_tokens=354,
            forced_tool_prompt_tokens=474,
        ),
        Model(id="claude-fable-5", family="claude-fable-5"),
        Model(id="claude-mythos-5", family="claude-mythos-5"),
        Model(
            id="claude-opus-5",
            family="claude-opus-5",
            has_fast_mode=True,
            fast_mode_beta=True,
            accepts_sampling=True,
            tool_prompt_tokens=286,
            forced_tool_prompt_tokens=406,
        ),
        Model(
            id="claude-opus-4-8",
            family="claude-opus-4",
            min_cache_prefix_tokens=1024,
            accepts_sampling=True,
            has_fast_mode=True,
            fast_mode_beta=True,
        ),
        Model(
            id="claude-opus-4-7",
            family="claude-opus-4",
            min_cache_prefix_tokens=2048,
            accepts_sampling=True,
            accepts_system_messages=False,
            tool_prompt_tokens=675,
            forced_tool_prompt_tokens=804,
        ),
        Model(id="claude-mythos-preview", family="claude-mythos-preview", retires_on=_MYTHOS_PREVIEW_RETIRES),
        _older("claude-opus-4-6", "claude-opus-4", min_cache_prefix_tokens=4096),
        _older("claude-sonnet-4-6", "claude-sonnet-4", min_cache_prefix_tokens=1024),
        _older("claude-haiku-4-5", "claude-haiku-4-5", min_cache_prefix_tokens=4096, accepts_prefill=True),
        _older("claude-haiku-4-5-20251001", "claude-haiku-4-5", min_cache_prefix_tokens=4096, accepts_prefill=True),
        *(
            _older(
                model_id,
                "claude-opus-4",
                min_cache_prefix_tokens=4096,
                accepts_prefill=True,
                retires_on=_OPUS_4_5_RETIRES,
            )
            for model_id in ("claude-opus-4-5", "claude-opus-4-5-20251101")
        ),
        *(
            _older(
                model_id,
                "claude-sonnet-4",
                min_cache_prefix_tokens=1024,
                accepts_prefill=True,
                retires_on=_SONNET_4_5_RETIRES,
            )
            for model_id in ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929")
        ),
    )
}
"""All models by id, newest first."""

FAMILIES: Final = tuple(dict.fromkeys(model.family for model in MODELS.values()))
"""Names of the pools: models of one family share one set of rate limits."""


def find_model(model_id: str) -> Model:
    """Looks up a model by its id.

    Raises:
        ApiError: 404 `not_found_error`, it does not exist. The API names only the model; we add where the list is.
    """
    model = MODELS.get(model_id)
    if model is None:
        raise ApiError(404, "not_found_error", f"model: {model_id} (GET /v1/models lists what is served)")
    return model
