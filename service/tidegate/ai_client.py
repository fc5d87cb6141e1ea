"""The older public API: a client that generates workflow documents under the global limiter."""

import asyncio
import importlib
import random
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, overload
from weakref import WeakKeyDictionary

from tidegate.core.domain.errors import ConfigurationError
from tidegate.generation.claude import ClaudeModel
from tidegate.generation.generator import Generator
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Progress, Tally
from tidegate.rate_limiter import RateLimiter, get_global_rate_limiter
from tidegate.settings import Settings, load_settings

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["AIClient", "GenerationRequest", "GenerationResult", "Tally"]

MOST_PROMPT_CHARACTERS: Final = 100_000
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_SILENCE_TIMEOUT_SECONDS: Final = 120.0
"""Longest silence inside a stream: the upstream sends a ping at least every few seconds."""


class AIClient:
    """Generates workflow documents with Claude, under a rate limiter and with retries.

    May be used from several event loops, one after the other or at once.

    Args:
        anthropic_api_key: key for the upstream; default: `ANTHROPIC_API_KEY`.
        settings: where the rest of the configuration comes from; default: environment and `tidegate.toml`.
        rate_limiter: default: the global one.
        random_fraction: random numbers from 0 to 1, for jitter.

    Raises:
        ConfigurationError: there is no key, or a setting is not allowed.
    """

    def __init__(
        self,
        anthropic_api_key: str | None = None,
        *,
        settings: Settings | None = None,
        rate_limiter: RateLimiter | None = None,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings or load_settings().settings
        configured_key = self._settings.anthropic_api_key
        key = anthropic_api_key or (configured_key.get_secret_value() if configured_key else "")
        if not key.strip():
            raise ConfigurationError("anthropic_api_key", key, "a key of the Claude API, here or in ANTHROPIC_API_KEY")
        self._rate_limiter = rate_limiter or get_global_rate_limiter()
        self._sdks: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncAnthropic] = WeakKeyDictionary()
        admission = self._rate_limiter.admission
        self._model = ClaudeModel(
            self._sdk, self._rate_limiter.acquire_for, admission, self._rate_limiter.retry_policy, random_fraction
        )
        self.configure(key, self._settings)

    def configure(self, anthropic_api_key: str, settings: Settings) -> None:
        """Replaces the key and the settings, for generations that begin from now on."""
        self._key, self._settings = anthropic_api_key.strip(), settings
        for sdk in self._sdks.values():
            sdk.api_key = self._key
        admission = self._rate_limiter.admission
        self._generator = Generator(
            self._model,
            admission.clock,
            model=settings.model,
            fallback_model=settings.fallback_model,
            timeout_seconds=settings.default_timeout_seconds,
            observer=admission.observer,
        )

    @overload
    async def generate_workflow(
        self, prompt: str, *, model: str | None = None, schema: None = None
    ) -> dict[str, Any]: ...

    @overload
    async def generate_workflow(self, prompt: str, *, model: str | None = None, schema: Mapping[str, Any]) -> Any: ...

    async def generate_workflow(
        self, prompt: str, *, model: str | None = None, schema: Mapping[str, Any] | None = None
    ) -> Any:
        """Generates a workflow document from a description in plain words: a plain dict, which is valid.

        With `schema` the document meets that JSON Schema instead. `generate` also tells how a document came about.

        Raises:
            ConfigurationError: the prompt is empty or longer than 100,000 characters, the schema cannot be used, or the
                upstream does not know the model.
            Refusal: Tidegate did not admit the call.
            UpstreamError: the upstream refused for good.
            RetriesExhausted: every attempt failed, or the time ran out; says how often and how long was tried.
            GenerationError: there were answers, but no valid one; with the findings.
        """
        return (await self.generate(GenerationRequest(prompt, model=model, schema=schema))).document

    @overload
    async def generate_workflow_with_fallback(
        self, prompt: str, *, model: str | None = None, schema: None = None
    ) -> dict[str, Any]: ...

    @overload
    async def generate_workflow_with_fallback(
        self, prompt: str, *, model: str | None = None, schema: Mapping[str, Any]
    ) -> Any: ...

    async def generate_workflow_with_fallback(
        self, prompt: str, *, model: str | None = None, schema: Mapping[str, Any] | None = None
    ) -> Any:
        """Generates as `generate_workflow` does; if that fails, asks the fallback model for a simpler document.

        The first request may take two thirds of the time. Raises as `generate_workflow`, for the second request.
        """
        return (await self.generate(GenerationRequest(prompt, model=model, schema=schema, fallback=True))).document

    async def generate(
        self, request: GenerationRequest, on_progress: OnProgress | None = None, tally: Tally | None = None
    ) -> GenerationResult:
        """Generates a document and tells how it came about. Raises as `generate_workflow`.

        `on_progress` is called for each step. `tally` counts what was spent, also when the generation fails.
        """
        _check_prompt(request.prompt)
        if "anthropic" not in sys.modules:  # a second's work, in which the event loop can serve others
            await asyncio.to_thread(importlib.import_module, "anthropic")
        return await self._generator.generate(request, on_progress or _ignore, tally)

    def status(self) -> dict[str, Any]:
        """Models, retry policy and counters, as plain values."""
        policy = self._rate_limiter.retry_policy()
        return {
            "configured": True,
            "model": self._settings.model,
            "fallback_model": self._settings.fallback_model,
            "timeout_seconds": self._settings.default_timeout_seconds,
            "retry_policy": {
                "max_attempts": policy.max_attempts,
                "base_delay_seconds": policy.base_delay_seconds,
                "max_delay_seconds": policy.max_delay_seconds,
                "jitter_factor": policy.jitter_factor,
            },
            "counters": dict(self._model.counts),
        }

    async def aclose(self) -> None:
        """Closes the connections that were opened in the running event loop."""
        sdk = self._sdks.pop(asyncio.get_running_loop(), None)
        if sdk is not None:
            await sdk.close()

    def _sdk(self) -> "AsyncAnthropic":
        """The SDK's client of the running loop: its connections cannot be used from another one."""
        import anthropic  # noqa: PLC0415  # takes long: only when it is used

        loop = asyncio.get_running_loop()
        sdk = self._sdks.get(loop)
        if sdk is None:
            # Every default that reads the environment is given: a stray profile or ANTHROPIC_BASE_URL must not count.
            sdk = self._sdks[loop] = anthropic.AsyncAnthropic(
                api_key=self._key,
                base_url=str(self._settings.upstream_url),
                max_retries=0,
                open_telemetry=False,
                timeout=anthropic.Timeout(_SILENCE_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS),
            )
        return sdk


def _check_prompt(prompt: object) -> None:
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MOST_PROMPT_CHARACTERS:
        allowed = f"a text that is not blank, at most {MOST_PROMPT_CHARACTERS:,} characters"
        raise ConfigurationError("prompt", prompt, allowed)


def _ignore(progress: Progress) -> None:
    """Stands for a missing `on_progress`."""
