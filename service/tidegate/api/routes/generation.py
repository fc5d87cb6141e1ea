"""`POST /api/workflows/generate`."""

from contextlib import nullcontext
from typing import Annotated, Any, Final

import yaml
from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from tidegate.api.access import for_callers
from tidegate.api.bodies import GenerateAnswer, GenerateBody, usage_body
from tidegate.api.content_negotiation import prefers
from tidegate.api.disconnect import cancel_on_disconnect
from tidegate.api.events import EventStream
from tidegate.api.examples import GENERATE_EXAMPLES
from tidegate.api.generation_meter import GenerationMeter
from tidegate.api.services import Services
from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.generation.request import GenerationRequest, GenerationResult, OnProgress, Progress, Tally
from tidegate.identity.model_access import check_model

__all__ = ["GENERATE_PATH", "generation_router"]

GENERATE_PATH: Final = "/api/workflows/generate"
_YAML: Final = "application/yaml"


def generation_router(services: Services) -> APIRouter:
    """The router of workflow generation."""
    router = APIRouter(tags=["workflows"], route_class=for_callers(services))

    @router.post(
        GENERATE_PATH,
        summary="Generate a workflow document",
        response_model=GenerateAnswer,
        responses={200: {"content": {_YAML: {}, "text/event-stream": {}}}},
    )
    async def generate(
        request: Request,
        body: Annotated[GenerateBody, Body(openapi_examples=GENERATE_EXAMPLES)],
    ) -> Response:
        """Generates a validated document of the Serverless Workflow DSL from a prompt.

        With `stream`, the response is a stream of events: `queued`, `attempt`, `text`, `validated`, and finally `done`
        with the result or `error` with a problem document. The generation is cancelled if the client disconnects. An
        unusable schema is a 422, also with `stream`.
        """
        request_id: str = request.state.request_id
        request.state.model = body.model or services.settings.model
        check_model(request.state.caller, request.state.model)
        if body.fallback:
            check_model(request.state.caller, services.settings.fallback_model)
        request.state.pool = model_pool(request.state.model)
        meter = request.state.meter = GenerationMeter(services.clock)
        wanted = GenerationRequest(
            prompt=body.prompt,
            caller=request.state.caller,
            model=body.model,
            fallback=body.fallback,
            schema=body.schema_,
            timeout_seconds=body.timeout_seconds or services.settings.default_timeout_seconds,
        )

        if body.schema_ is not None:
            from tidegate.generation.caller_schema.schema import CallerSchema  # noqa: PLC0415  # rarely needed, slow to import

            CallerSchema(body.schema_)
        tally = request.state.tally = Tally()

        async def generated(on_progress: OnProgress) -> GenerationResult:
            # The generator has its own client. Its wait ends early only if the upstream was never reachable.
            with nullcontext() if services.reachability is None else services.reachability.while_reachable():
                try:
                    return await services.ai_client.generate(wanted, on_progress, tally)
                finally:
                    if any(tally.usage):
                        request.state.usage = tally.usage

        if body.stream:

            async def work(on_progress: OnProgress) -> dict[str, Any]:
                def observe(progress: Progress) -> None:
                    meter.observe(progress)
                    on_progress(progress)

                return _response_body(await generated(observe), body.format, request_id)

            return EventStream(work, request_id)
        result = await cancel_on_disconnect(request.receive, generated(meter.observe))
        if prefers(request.headers.get("accept", ""), _YAML, "application/json"):
            return Response(_as_yaml(result.document), media_type=_YAML)
        return JSONResponse(_response_body(result, body.format, request_id))

    return router


def _response_body(result: GenerationResult, format_: str, request_id: str) -> dict[str, Any]:
    return {
        "workflow": _as_yaml(result.document) if format_ == "yaml" else result.document,
        "valid": True,
        "model": result.model,
        "usage": usage_body(result.usage),
        "attempts": result.attempts,
        "repaired": result.repaired,
        "fallback_used": result.fallback_used,
        "fallback_reason": result.fallback_reason,
        "fallback_message": result.fallback_message,
        "queue_seconds": result.queue_seconds,
        "notes": result.notes,
        "request_id": request_id,
    }


def _as_yaml(document: object) -> str:
    # Unsorted: the order of keys is the reading order of a workflow.
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
