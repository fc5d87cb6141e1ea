"""Authentication policies: basic, bearer, digest, OAuth 2 and OpenID Connect; in place, from a secret, or by name."""

from typing import Annotated, Literal

from pydantic import Field

from tidegate.generation.dsl.base import DslModel, Maybe, OpenDslModel
from tidegate.generation.dsl.choices import by_key
from tidegate.generation.dsl.marks import RefersTo
from tidegate.generation.dsl.texts import RelativeUriTemplate, UriTemplate


class SecretReference(DslModel):
    """Take the properties of the authentication from a secret."""

    use: Annotated[str, RefersTo("secrets"), Field(min_length=1)]


class PolicyReference(DslModel):
    """Use an authentication policy that `use.authentications` declares."""

    use: Annotated[str, RefersTo("authentications"), Field(min_length=1)]


class UserAndPassword(DslModel):
    """Credentials of basic and digest authentication."""

    username: str
    password: str


class BearerToken(DslModel):
    """The token of bearer authentication."""

    token: str


class OAuth2Client(DslModel):
    """The client that asks for a token."""

    id: Maybe[str] = None
    secret: Maybe[str] = None
    assertion: Maybe[str] = None
    authentication: Maybe[
        Literal["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
    ] = None


class OAuth2Request(OpenDslModel):
    """How the request for a token is encoded."""

    encoding: Maybe[Literal["application/x-www-form-urlencoded", "application/json"]] = None


class OAuth2Token(DslModel):
    """A token that is exchanged for another: whom it is about, or who acts."""

    token: str
    type: str


class OAuth2Endpoints(OpenDslModel):
    """Where the authority's endpoints are, usually relative to it."""

    token: Maybe[RelativeUriTemplate] = None
    revocation: Maybe[RelativeUriTemplate] = None
    introspection: Maybe[RelativeUriTemplate] = None


class OpenIdConnect(DslModel):
    """What OpenID Connect and OAuth 2 have in common."""

    authority: Maybe[UriTemplate] = None
    grant: Maybe[
        Literal[
            "authorization_code",
            "client_credentials",
            "password",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ]
    ] = None
    client: Maybe[OAuth2Client] = None
    request: Maybe[OAuth2Request] = None
    issuers: Maybe[list[str]] = None
    scopes: Maybe[list[str]] = None
    audiences: Maybe[list[str]] = None
    username: Maybe[str] = None
    password: Maybe[str] = None
    subject: Maybe[OAuth2Token] = None
    actor: Maybe[OAuth2Token] = None


class OAuth2(OpenIdConnect):
    """OAuth 2: also says where the authority's endpoints are."""

    endpoints: Maybe[OAuth2Endpoints] = None


_FROM_SECRET: dict[str, type[DslModel]] = {"use": SecretReference}


class BasicAuthentication(DslModel):
    """The `basic` scheme."""

    basic: Annotated[UserAndPassword | SecretReference, by_key(_FROM_SECRET, otherwise=UserAndPassword)]


class BearerAuthentication(DslModel):
    """The `bearer` scheme."""

    bearer: Annotated[BearerToken | SecretReference, by_key(_FROM_SECRET, otherwise=BearerToken)]


class DigestAuthentication(DslModel):
    """The `digest` scheme."""

    digest: Annotated[UserAndPassword | SecretReference, by_key(_FROM_SECRET, otherwise=UserAndPassword)]


class OAuth2Authentication(DslModel):
    """The `oauth2` scheme."""

    oauth2: Annotated[OAuth2 | SecretReference, by_key(_FROM_SECRET, otherwise=OAuth2)]


class OpenIdConnectAuthentication(DslModel):
    """The `oidc` scheme."""

    oidc: Annotated[OpenIdConnect | SecretReference, by_key(_FROM_SECRET, otherwise=OpenIdConnect)]


_SCHEMES: dict[str, type[DslModel]] = {
    "basic": BasicAuthentication,
    "bearer": BearerAuthentication,
    "digest": DigestAuthentication,
    "oauth2": OAuth2Authentication,
    "oidc": OpenIdConnectAuthentication,
}

_Scheme = (
    BasicAuthentication
    | BearerAuthentication
    | DigestAuthentication
    | OAuth2Authentication
    | OpenIdConnectAuthentication
)

AuthenticationPolicy = Annotated[_Scheme, by_key(_SCHEMES)]
"""A policy of exactly one scheme.

In `use.authentications` the schema lets further properties pass, which it refuses where a policy is used. They are
refused in both places here: the one point where these models are stricter than the schema.
"""

ReferenceableAuthentication = Annotated[_Scheme | PolicyReference, by_key({"use": PolicyReference, **_SCHEMES})]
"""A policy in place, or the name of a declared one."""
