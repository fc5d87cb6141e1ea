"""Calls: HTTP, gRPC, OpenAPI, AsyncAPI, and functions by name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tidegate.generation.dsl.authentication import ReferenceableAuthentication
from tidegate.generation.dsl.base import DslModel, Integer, Maybe
from tidegate.generation.dsl.endpoints import Endpoint, ExternalResource
from tidegate.generation.dsl.refusals import must_be
from tidegate.generation.dsl.tasks.asynchronous import AsyncApiArguments
from tidegate.generation.dsl.tasks.base import TaskBase
from tidegate.generation.dsl.texts import Label

ResponseFormat = Literal["raw", "content", "response"]
"""What a call returns: the body in base64, the body's value, or the whole response."""


class HttpArguments(DslModel):
    """An HTTP request."""

    method: str
    endpoint: Endpoint
    headers: Maybe[dict[str, Any]] = None
    body: Any = None
    query: Maybe[dict[str, Any]] = None
    output: Maybe[ResponseFormat] = None
    redirect: Maybe[bool] = None


def _check_port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise must_be("a port from 0 to 65535")
    return port


Port = Annotated[Integer, AfterValidator(_check_port)]


class GrpcService(DslModel):
    """The gRPC service to call. Its host is a single label: DSL 1.0.0 allows no dots there."""

    name: str
    host: Label
    port: Maybe[Port] = None
    authentication: Maybe[ReferenceableAuthentication] = None


class GrpcArguments(DslModel):
    """A gRPC call: the service's description, the service, its method and the message."""

    proto: ExternalResource
    service: GrpcService
    method: str
    arguments: Maybe[dict[str, Any]] = None


class OpenApiArguments(DslModel):
    """An operation of an OpenAPI document."""

    document: ExternalResource
    operation_id: str = Field(alias="operationId")
    parameters: Maybe[dict[str, Any]] = None
    authentication: Maybe[ReferenceableAuthentication] = None
    output: Maybe[ResponseFormat] = None
    redirect: Maybe[bool] = None


class CallTask(TaskBase, keyword="call"):
    """Call something; which function decides what its arguments are."""

    call: str

    @classmethod
    def variant_for(cls, value: Mapping[str, object]) -> type[TaskBase]:
        """Return the model for the built-in function that is called, or for a function by name."""
        function = value["call"]
        return _BUILT_IN.get(function, CallFunction) if isinstance(function, str) else CallFunction


class CallHttp(CallTask):
    """Send an HTTP request."""

    call: Literal["http"]
    with_: HttpArguments = Field(alias="with")


class CallGrpc(CallTask):
    """Call a gRPC method."""

    call: Literal["grpc"]
    with_: GrpcArguments = Field(alias="with")


class CallOpenApi(CallTask):
    """Call an operation that an OpenAPI document describes."""

    call: Literal["openapi"]
    with_: OpenApiArguments = Field(alias="with")


class CallAsyncApi(CallTask):
    """Publish or subscribe as an AsyncAPI document describes."""

    call: Literal["asyncapi"]
    with_: AsyncApiArguments = Field(alias="with")


class CallFunction(CallTask):
    """Call a function: one that `use.functions` declares, one of a catalog, or one at a URL."""

    with_: Maybe[dict[str, Any]] = Field(None, alias="with")


_BUILT_IN: dict[str, type[CallTask]] = {
    "http": CallHttp,
    "grpc": CallGrpc,
    "openapi": CallOpenApi,
    "asyncapi": CallAsyncApi,
}
