"""Where things outside the workflow are."""

from typing import Annotated

from tidegate.generation.dsl.authentication import ReferenceableAuthentication
from tidegate.generation.dsl.base import DslModel, Maybe
from tidegate.generation.dsl.choices import text_or
from tidegate.generation.dsl.texts import UriOrExpression, as_uri_or_expression


class EndpointConfiguration(DslModel):
    """A URI with the authentication that it needs."""

    uri: UriOrExpression
    authentication: Maybe[ReferenceableAuthentication] = None


Endpoint = Annotated[
    str | EndpointConfiguration,
    text_or(
        EndpointConfiguration.model_validate,
        as_uri_or_expression,
        allowed="a URI, a runtime expression or an object with uri",
    ),
]
"""A URI (template), an expression that computes one, or an object with more."""


class ExternalResource(DslModel):
    """A document elsewhere, such as an OpenAPI description or a script."""

    name: Maybe[str] = None
    endpoint: Endpoint


class Catalog(DslModel):
    """A collection of functions elsewhere, to call as `name:version@catalog`."""

    endpoint: Endpoint
